"""Every backend keeps the contract: each rule, on each backend and event loop."""

from pathlib import Path

import pytest

from layered.testing import backend_rules
from layered.testing.conformance.backend import Make
from layered.testing.conformance.rule import Rule
from tests.conformance.storages import BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", backend_rules)
async def test_backend_keeps_the_rule(rule: Rule[Make], backend: str, tmp_path: Path) -> None:
    """The rule's own docstring says what it shows."""
    await rule.check(BACKENDS[backend](tmp_path))
