"""What lies between a storage and PostgreSQL: a place to fail, to stop, and to count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg.waiting import Ready, Wait

from layered.backends.postgres import connection as connections
from layered.backends.postgres.connection import Connection
from layered.errors import BackendBroken, BackendError, Fatal, Full, Transient

EXECUTE = Connection.execute
"""Runs a statement without a wire."""
READY = connections._ready
"""Waits for a socket without a wire."""

Run: TypeAlias = Callable[[], Awaitable[Any]]
Hook: TypeAlias = Callable[[Connection, str, Run], Awaitable[Any]]
Stop: TypeAlias = Callable[[Run], Awaitable[Any]]


async def pass_on(connection: Connection, statement: str, run: Run) -> Any:
    """Do what was asked for."""
    return await run()


async def go_on(run: Run) -> Any:
    """Wait for what was asked for."""
    return await run()


class Wire:
    """All connections of a test: `hook` is given each statement, `stop` each wait for a socket."""

    def __init__(self) -> None:
        self.hook: Hook = pass_on
        self.stop: Stop = go_on

    async def ready(self, socket: int, wanted: Wait) -> Ready:
        """Stand in for the wait of a connection."""
        found: Ready = await self.stop(partial(READY, socket, wanted))
        return found


def wired(wire: Wire) -> Callable[..., Awaitable[Any]]:
    """Make what stands in for `Connection.execute`."""

    async def execute(connection: Connection, query: Any, *args: Any, **options: Any) -> Any:
        run = partial(EXECUTE, connection, query, *args, **options)
        return await wire.hook(connection, str(query), run)

    return execute


def terminate(connection: Connection) -> None:
    """Have the server end the session of a connection, and wait for that."""
    info = connection.info
    dsn = f"host={info.host} port={info.port} user={info.user} dbname={info.dbname}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.pgconn.backend_pid,))


async def lost_before(connection: Connection, statement: str, run: Run) -> Any:
    """Lose the session before the statement is sent."""
    terminate(connection)
    return await run()


async def lost_after(connection: Connection, statement: str, run: Run) -> Any:
    """Lose the session when the statement was run, and before its answer."""
    await run()
    terminate(connection)
    return await EXECUTE(connection, "SELECT 1")


async def unheard(connection: Connection, statement: str, run: Run) -> Any:
    """Run the statement, and say that the server is stopping: the connection stays as it is."""
    await run()
    raise psycopg.errors.AdminShutdown("simulated")


async def too_slow(connection: Connection, statement: str, run: Run) -> Any:
    """Have the server run the statement, and wait then for longer than anybody does."""
    await run()
    return await EXECUTE(connection, "SELECT pg_sleep(60)")


def raised(state: str) -> Hook:
    """Have the server raise an error of its own in place of the statement."""

    async def strike(connection: Connection, statement: str, run: Run) -> Any:
        text = f"DO $$ BEGIN RAISE EXCEPTION 'simulated' USING ERRCODE = '{state}'; END $$"
        return await EXECUTE(connection, text.encode())

    return strike


class Fault(NamedTuple):
    """
    What happens at a statement, and what the caller is told.

    Args:
        strike: Stands in for the statement.
        error: What the operation raises.
        again: Whether a lane does the work again, on a new connection.
        every: Whether all later statements are struck, too.
    """

    strike: Hook
    error: type[BackendError]
    again: bool = False
    every: bool = False


FAULTS: Mapping[str, Fault] = {
    "session lost before": Fault(lost_before, BackendBroken, again=True),
    "session lost after": Fault(lost_after, BackendBroken, again=True),
    "each session lost": Fault(lost_before, BackendBroken, every=True),
    "server stops": Fault(unheard, BackendBroken, again=True),
    "server stopped": Fault(raised("57P01"), BackendBroken, every=True),
    "deadlock": Fault(raised("40P01"), Transient),
    "disk full": Fault(raised("53100"), Full),
    "damaged": Fault(raised("XX001"), Fatal),
    "too slow": Fault(too_slow, Transient),
}
"""What the other errors become is tested with `layered.backends.postgres.faults`."""


class At:
    """A hook that strikes at the statement of this number, counted from 0, or at all from there."""

    def __init__(self, number: int, strike: Hook, *, every: bool = False) -> None:
        self._number = number
        self._strike = strike
        self._every = every
        self.count = 0

    async def __call__(self, connection: Connection, statement: str, run: Run) -> Any:
        """Count, and strike."""
        number, self.count = self.count, self.count + 1
        if number == self._number or (self._every and number > self._number):
            return await self._strike(connection, statement, run)
        return await run()
