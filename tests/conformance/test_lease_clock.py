"""What only backends keep that measure leases by a clock of their own."""

from pathlib import Path

import pytest

from layered.backend import Limits
from layered.testing.conformance.backend import Clock
from layered.testing.conformance.backend.store import Store
from tests.conformance.storages import BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_step_of_the_wall_clock_ends_no_lease(backend: str, tmp_path: Path) -> None:
    """Leases are measured by a clock that nobody sets."""
    clock, make = Clock(), BACKENDS[backend](tmp_path)

    async with make(clock, Limits()) as storage:
        store = Store(storage, clock, make)
        await store.running()
        await clock.advance(1e6)
        reaped = await store.reap()

    assert reaped == []
