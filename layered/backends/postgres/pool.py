"""The connections of a storage: a lane for each kind of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias, TypeVar

from layered.backends.postgres.connection import Connection
from layered.backends.postgres.faults import shown
from layered.backends.postgres.lane import Lane
from layered.errors import BackendClosed

T = TypeVar("T")

Work: TypeAlias = Literal["push", "claim", "settle", "read", "user"]
_WORK: tuple[Work, ...] = ("push", "claim", "settle", "read", "user")


class Pool:
    """
    Five lanes, so that a claim waits for no push, and a settle for no claim.

    ``user`` is for effects of the user's (`PostgresStorage.settle_in`).

    Each connects when it is first used. Only for the event loop that it
    was opened in.

    Args:
        dsn: Where to connect.

    Raises:
        ValueError: if that cannot be read.
    """

    __slots__ = ("_dsn", "_lanes", "where")

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.where = shown(dsn)
        self._lanes: dict[Work, Lane] = {}

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed since."""
        return bool(self._lanes)

    def open(self) -> None:
        """Make the lanes."""
        self._lanes = {work: self.lane(work) for work in _WORK}

    def lane(self, name: str) -> Lane:
        """Make a lane besides, for whoever will close it."""
        return Lane(self._dsn, self.where, name)

    async def run(
        self, lane: Work, work: Callable[[Connection], Awaitable[T]], *, again: bool = True
    ) -> T:
        """
        Do *work* on a lane; see `Lane.run`.

        Raises:
            BackendClosed: if the pool is not open.
        """
        if not self._lanes:
            msg = f"using {self.where}: the storage is not open; open it: async with ..."
            raise BackendClosed(msg)
        return await self._lanes[lane].run(work, again=again)

    async def aclose(self) -> None:
        """Finish what was begun, and close the connections; not cancellable."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.aclose()
