"""A connection of psycopg whose waiting is anyio's, so that it works on asyncio and trio."""

from __future__ import annotations

import logging
import math
import select
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint
from psycopg import AsyncConnection, errors, pq
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.conninfo import conninfo_attempts, conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow, tuple_row
from psycopg.waiting import Ready, Wait

from layered.backends.postgres.arrays import register

log = logging.getLogger("layered.postgres")

CANCELLING = 1.0
"""Seconds that the server may take to stop a statement whose caller has gone."""
CONNECTING = 10.0
"""Seconds for a connection attempt, unless the DSN says ``connect_timeout``."""

_EVENTS = {
    Wait.R: select.POLLIN,
    Wait.W: select.POLLOUT,
    Wait.RW: select.POLLIN | select.POLLOUT,
}

_TUNE = """
SELECT pg_backend_pid(), (
    SELECT count(set_config(name, value, false))
    FROM unnest(%s::text[], %s::text[]) AS each (name, value) WHERE pg_backend_pid() = %s
)
"""


class Connection(AsyncConnection[TupleRow]):
    """
    One connection, for one event loop, used by one task at a time.

    Cancelling a statement asks the server to stop it and waits for that,
    `CANCELLING` seconds at most; a connection that does not come free is
    closed. So what comes after finds it idle, or closed.
    """

    def __init__(self, pgconn: pq.abc.PGconn, row_factory: Any = tuple_row) -> None:  # noqa: ANN401 - psycopg's own
        super().__init__(pgconn, row_factory)
        self.lock = anyio.Lock(fast_acquire=True)  # type: ignore[assignment] # psycopg's is asyncio's

    @classmethod
    async def open(cls, dsn: str, name: str) -> Self:
        """
        Connect; each statement is its own transaction.

        Args:
            dsn: A connection string or URI of libpq.
            name: ``application_name``, unless the DSN has one.

        Raises:
            psycopg.Error: if no server of the DSN takes the connection in time.
        """
        params = conninfo_to_dict(dsn)
        params.setdefault("application_name", name)
        limit = float(params.pop("connect_timeout", None) or CONNECTING)
        attempts = await anyio.to_thread.run_sync(conninfo_attempts, params)
        failed: errors.Error = errors.OperationalError("the DSN names no server")
        for attempt in attempts:
            try:
                with anyio.fail_after(limit):
                    made = await _drive(cls._connect_gen(make_conninfo("", **attempt)))
            except TimeoutError:
                failed = errors.ConnectionTimeout(f"no answer within {limit:g} s")
            except errors.Error as error:
                failed = error
            else:
                made._autocommit = True  # noqa: SLF001 - its setter waits by asyncio's means
                made.prepare_threshold = 2
                register(made.adapters)
                return made
        raise failed

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Make the statements of the block one transaction; an error undoes it."""
        await self.execute("BEGIN")
        try:
            yield
        except BaseException:
            if not self.closed:
                with anyio.move_on_after(CANCELLING, shield=True):
                    await self.execute("ROLLBACK")
            raise
        await self.execute("COMMIT")

    async def pooled(self) -> bool:
        """
        Tell whether a pooler stands before the server.

        Poolers such as PgBouncer hand out process ids of their own.
        """
        ((pid,),) = await (await self.execute("SELECT pg_backend_pid()")).fetchall()
        return bool(pid != self.pgconn.backend_pid)

    async def tune(self, settings: Mapping[str, str]) -> None:
        """
        Set what is to hold for the session.

        Behind a pooler, which gives sessions to others in between, nothing
        is set, and no statement prepared.
        """
        ours = self.pgconn.backend_pid
        values = ([*settings], [*settings.values()], ours)
        ((found, _),) = await (await self.execute(_TUNE, values)).fetchall()
        if found != ours:
            self.prepare_threshold = None

    @property
    def busy(self) -> bool:
        """Whether a statement or a transaction is open."""
        return self.pgconn.transaction_status != pq.TransactionStatus.IDLE

    async def wait(self, gen: PQGen[RV], interval: float = 0.0, timeout: float | None = None) -> RV:
        """Run one of psycopg's generators to its end, waiting by anyio."""
        try:
            with anyio.fail_after(math.inf if timeout is None else timeout):
                return await self._run(gen)
        except TimeoutError:
            msg = "no answer in time"
            raise errors.OperationalError(msg) from None
        except BaseException as error:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                await self._stop(gen, error)
            raise

    async def _run(self, gen: PQGen[RV], ready: Ready | None = None) -> RV:
        try:
            wanted = next(gen) if ready is None else gen.send(ready)
            while True:
                wanted = gen.send(await _ready(self.pgconn.socket, wanted))
        except StopIteration as stop:
            value: RV = stop.value
            return value

    async def _stop(self, gen: PQGen[Any], error: BaseException) -> None:
        """Have the server stop what it does, so that the connection can be used again."""
        with anyio.move_on_after(CANCELLING, shield=True):
            try:
                await _drive(self._cancel_gen())
                await self._run(gen, Ready.NONE)  # it goes on where it was left
            except errors.QueryCanceled:
                return
            except errors.Error:
                log.debug("stopping a statement failed; closing the connection", exc_info=error)
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            self.pgconn.finish()


async def _drive(gen: PQGenConn[RV]) -> RV:
    """Run a generator that names the socket itself at each step: connecting, cancelling."""
    try:
        socket, wanted = next(gen)
        while True:
            socket, wanted = gen.send(await _ready(socket, wanted))
    except StopIteration as stop:
        value: RV = stop.value
        return value
    finally:
        gen.close()  # and with it what it was about to make


async def _ready(socket: int, wanted: Wait) -> Ready:
    """Wait until a socket is ready for what is wanted, or for one of the two."""
    if wanted == Wait.R:
        await anyio.wait_readable(socket)
        return Ready.R
    if found := _now(socket, wanted):  # nearly always: a socket is writable
        await checkpoint()
        return found
    if wanted == Wait.W:
        await anyio.wait_writable(socket)
        return Ready.W
    async with anyio.create_task_group() as group:

        async def first(wait: Any) -> None:  # noqa: ANN401 - one of anyio's two
            await wait(socket)
            group.cancel_scope.cancel()

        group.start_soon(first, anyio.wait_readable)
        group.start_soon(first, anyio.wait_writable)
    return _now(socket, wanted) or Ready.R


def _now(socket: int, wanted: Wait) -> Ready | None:
    """Tell what a socket is ready for at this moment."""
    poll = select.poll()
    poll.register(socket, _EVENTS[wanted])
    found = 0
    for _, event in poll.poll(0):
        found |= (Ready.R if event & ~select.POLLOUT else 0) | (
            Ready.W if event & select.POLLOUT else 0
        )
    return Ready(found) if found else None
