"""The connections of a storage: a lane for each kind of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeAlias, TypeVar

import anyio

from layered.backends.postgres.connection import Connection
from layered.backends.postgres.faults import shown
from layered.backends.postgres.lane import LIMIT, Lane
from layered.errors import BackendClosed, BackendError
from layered.service.clock import loop_token

T = TypeVar("T")

Work: TypeAlias = Literal["push", "claim", "settle", "read"]
EFFECTS = 4
"""Most effects of the user's at a time, each on a connection of its own."""
_WORK: tuple[Work, ...] = ("push", "claim", "settle", "read")

# Statements get their rows by index whatever the statistics say, so planning them anew each time
# is lost time; a statement whose client has gone must not go on for long.
_SETTINGS = {"plan_cache_mode": "force_generic_plan", "statement_timeout": f"{LIMIT:g}s"}
# A crash of the server may take back claims, renewals, reapings and prunings: as if they had not
# been. So they need not wait for the disk.
_LAX = {"synchronous_commit": "off"}
# Rows of a batch are locked in the order of its list, so that two batches never wait for each
# other: by looking up one after the other, whatever would be quicker in a small table.
_IN_ORDER = dict.fromkeys(("enable_hashjoin", "enable_mergejoin", "enable_seqscan"), "off")
_BY_NAME: Mapping[str, Mapping[str, str]] = {
    "push": _SETTINGS,
    "settle": _SETTINGS | _IN_ORDER,
    "claim": _SETTINGS | _LAX,
    "read": _SETTINGS | _LAX,
    "keeper": _SETTINGS | _LAX,
}


class Pool:
    """
    Four lanes, so that a claim waits for no push, and a settle for no claim.

    And as many for effects of the user's, which may take long.

    Each connects when it is first used. Only for the event loop that it
    was opened in.

    Args:
        dsn: Where to connect.

    Raises:
        ValueError: if that cannot be read.
    """

    __slots__ = ("_dsn", "_effects", "_idle", "_lanes", "_loop", "_room", "where")

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.where = shown(dsn)
        self._lanes: dict[Work, Lane] = {}
        self._loop: object = None
        self._effects: list[Lane] = []

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed since."""
        return bool(self._lanes)

    def open(self) -> None:
        """Make the lanes."""
        self._lanes = {work: self.lane(work) for work in _WORK}
        self._loop = loop_token()
        self._effects = [self.lane("effect") for _ in range(EFFECTS)]
        self._idle = [*self._effects]
        self._room = anyio.Semaphore(EFFECTS)

    def lane(self, name: str) -> Lane:
        """Make a lane besides, for whoever will close it."""
        return Lane(self._dsn, self.where, name, _BY_NAME.get(name, {}))

    async def run(
        self, lane: Work, work: Callable[[Connection], Awaitable[T]], *, again: bool = True
    ) -> T:
        """
        Do *work* on a lane; see `Lane.run`.

        Raises:
            BackendClosed: if the pool is not open.
            BackendError: in another event loop than that it was opened in.
        """
        self._check_open()
        return await self._lanes[lane].run(work, again=again)

    async def effect(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """
        Do the user's *work* on a lane that it has for itself; `EFFECTS` at a time.

        The lane's time limit is for the work, not for the wait before it.

        Raises:
            BackendClosed: if the pool is not open.
            BackendError: in another event loop than that it was opened in.
        """
        self._check_open()
        async with self._room:
            lane = self._idle.pop()
            try:
                return await lane.run(work)
            finally:
                self._idle.append(lane)

    def _check_open(self) -> None:
        if not self._lanes:
            msg = f"using {self.where}: the storage is not open; open it: async with ..."
            raise BackendClosed(msg)
        if loop_token() is not self._loop:
            msg = (
                f"using {self.where}: the storage was opened in another event loop; make one "
                "PostgresStorage for each"
            )
            raise BackendError(msg)

    async def aclose(self) -> None:
        """Finish what was begun, and close the connections; not cancellable."""
        lanes, self._lanes = self._lanes, {}
        for lane in (*lanes.values(), *self._effects):
            await lane.aclose()
