"""Storages with a fault of the kind that a scenario looks for: its check must find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layered import SqliteStorage
from layered.backend import Claimant, Claimed, Reaped
from layered.backends.sqlite.clock import Clock
from tests.faults.bad_luck import ReapsNothing
from tests.faults.setting import PlainUnit, Unit
from tests.faults.storages import ShiftedStorage


class Reapless(ReapsNothing, SqliteStorage[Unit | PlainUnit]):
    """Does not reap."""


class Uncharging(SqliteStorage[Unit | PlainUnit]):
    """Does not count the workers that a task took with it."""

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """Reap, and forgive."""
        reaped = await super().reap(limit)
        await self._write(lambda connection: connection.execute("UPDATE task SET lost = 0"))
        return reaped


class Popping(SqliteStorage[Unit | PlainUnit]):
    """Removes tasks when they are claimed, as a queue does that has no leases."""

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """Claim, and forget."""
        claimed = await super().claim(claimant, wanted, most)
        ids = [(lease.id,) for lease in claimed.leases]
        await self._write(
            lambda connection: connection.executemany("DELETE FROM task WHERE id = ?", ids)
        )
        return claimed


class WallLeases(ShiftedStorage):
    """Measures leases by the wall clock."""

    def __init__(self, where: Path, args: Any) -> None:
        super().__init__(where, args)
        self._clock = Clock(self._clock.now, self._clock.now)
