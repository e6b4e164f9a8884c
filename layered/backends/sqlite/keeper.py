"""The lease keeper's way to the file."""

from __future__ import annotations

from collections.abc import Sequence

from layered.backend import Renew, Renewal
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.lane import Lane
from layered.backends.sqlite.lease import renew


class Keeper:
    """Renews leases over its own lane."""

    __slots__ = ("_clock", "_lane")

    def __init__(self, lane: Lane, clock: Clock) -> None:
        self._lane = lane
        self._clock = clock

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """See `Backend.renew`."""
        return await self._lane.run(
            lambda connection: renew(connection, self._clock, items, lease), durable=False
        )
