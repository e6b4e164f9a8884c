"""What storages of both backends do that have bad luck; to be mixed in before the storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from layered import Storage
from layered.backend import Answer, Claimant, Claimed, Reaped, Renews, Settle
from layered.errors import Transient
from tests.faults.deeds import die
from tests.faults.setting import PlainUnit, Unit


class Deadly(Storage[Unit]):
    """Dies in the first attempt of a task whose deed names one of its points."""

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """Die between a claim's commit and the worker's hearing of it."""
        claimed = await super().claim(claimant, wanted, most)  # type: ignore[safe-super] # mixed in
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
        answers = await super().settle(items)  # type: ignore[safe-super] # mixed in
        if "die after the settle" in deeds:
            die()
        return answers


class Late(Storage[Unit]):
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


class ReapsNothing(Storage[Unit | PlainUnit]):
    """Leaves the tasks of lost workers to them."""

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """Take nothing from anybody."""
        return []
