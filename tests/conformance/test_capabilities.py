"""What the shipped backends can do besides: a rule passes in silence where a capability lacks."""

from pathlib import Path
from typing import Any

import pytest

from layered import backend
from layered.backend import Limits
from layered.testing.conformance.backend import Clock
from tests.conformance.storages import BACKENDS

CAPABILITIES: list[type[Any]] = [
    backend.Cancels,
    backend.Dedups,
    backend.Lists,
    backend.Pauses,
    backend.Remembers,
    backend.Reports,
    backend.Requeues,
    backend.Sees,
]


@pytest.mark.parametrize("name", BACKENDS)
def test_shipped_backend_can_be_controlled(name: str, tmp_path: Path) -> None:
    """None of them lacks a capability, so every rule of control runs on each."""
    storage = BACKENDS[name](tmp_path)(Clock(), Limits())

    lacking = [each.__name__ for each in CAPABILITIES if not isinstance(storage, each)]

    assert lacking == []
