"""Storages for worker processes that have bad luck."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from layered import SqliteStorage
from layered.backend import Answer, Claimant, Claimed, Renews, Settle
from layered.errors import Transient
from tests.faults.deeds import die
from tests.faults.setting import Unit


class DeadlyStorage(SqliteStorage[Unit]):
    """Dies in the first attempt of a task whose deed names one of its points."""

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """Die between a claim's commit and the worker's hearing of it."""
        claimed = await super().claim(claimant, wanted, most)
        self._deeds = {
            lease.id: msgspec.json.decode(lease.payload, type=Unit).deed for lease in claimed.leases
        }
        if any(
            lease.attempt == 1 and self._deeds[lease.id] == "die when claimed"
            for lease in claimed.leases
        ):
            die()
        return claimed

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """Die before a settle, or between its commit and the worker's hearing of it."""
        deeds = {self._deeds[item.fence.id] for item in items if item.attempt == 1}
        if "die before the settle" in deeds:
            die()
        answers = await super().settle(items)
        if "die after the settle" in deeds:
            die()
        return answers


class LateStorage(SqliteStorage[Unit]):
    """Cannot open the keeper's connection the first two times."""

    _refused = 0

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[Renews]:
        """Refuse at first."""
        if self._refused < 2:
            self._refused += 1
            raise Transient("the file is locked")
        async with super().keeper() as renews:
            yield renews
