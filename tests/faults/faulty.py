"""Storages with a fault of the kind that a scenario looks for: its check must find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layered import SqliteStorage
from layered.backend import Claimant, Claimed, Reaped
from tests.faults.setting import PlainUnit, Unit


class Reapless(SqliteStorage[Unit | PlainUnit]):
    """Leaves the tasks of lost workers to them."""

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """Take nothing from anybody."""
        return []


class Popping(SqliteStorage[Unit | PlainUnit]):
    """Removes tasks when they are claimed, as a queue does that has no leases."""

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """Claim, and forget."""
        claimed = await super().claim(claimant, wanted, most)
        ids = [(lease.id,) for lease in claimed.leases]
        await self._lane(self._writer).run(
            lambda connection: connection.executemany("DELETE FROM task WHERE id = ?", ids)
        )
        return claimed
