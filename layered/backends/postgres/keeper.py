"""The lease keeper's way to the server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from layered.backend import Renew, Renewal
from layered.backends.postgres.lane import Lane
from layered.backends.postgres.lease import renew


class Keeper:
    """Renews leases over its own lane."""

    __slots__ = ("_lane", "_schema")

    def __init__(self, lane: Lane, schema: str) -> None:
        self._lane = lane
        self._schema = schema

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """See `Backend.renew`."""
        return await self._lane.run(partial(renew, schema=self._schema, items=items, lease=lease))
