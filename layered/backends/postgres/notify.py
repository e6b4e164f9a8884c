"""Hints by LISTEN and NOTIFY: a task is claimed at once; without them, at the next poll."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import TaskStatus
from psycopg import Error, generators

from layered.backends.postgres.connection import Connection
from layered.backends.postgres.faults import shown, translate
from layered.backends.postgres.pool import Pool
from layered.errors import BackendError, Fatal

log = logging.getLogger("layered.postgres")

PING_EVERY = 10.0
"""Seconds of silence after which the listener asks whether the server is still there."""
PING_LIMIT = 3.0
"""Seconds that the answer may take: a half-open connection gives no error, ever."""
BACKOFF = (0.1, 5.0)
"""Least and most seconds between attempts to listen again."""
SPREAD = 0.05
"""Most seconds by which a hint is delayed where many workers wake up for one task."""
TOGETHER = 0.01
"""Seconds within which one more hint is not sent."""

_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, %(queue)s)"
NOTIFY_IN = "SELECT pg_notify(%(channel)s, %(queue)s)"
"""The same inside a transaction of the user's: as durable as that is to be."""


class Listener:
    """
    Listens on a connection of its own for as long as it runs, and again after each loss.

    Args:
        dsn: Where; to the server itself, not through a pooler.
        schema: The schema, quoted; the channel is named after it.
        queue: The queue whose hints count.
        hint: Is called for each hint, or several at once; also whenever
            listening began, for what was pushed meanwhile.
    """

    __slots__ = ("_channel", "_dsn", "_hint", "_hinted", "_queue", "spread")

    def __init__(self, dsn: str, schema: str, queue: str, hint: Callable[[], None]) -> None:
        self._dsn = dsn
        self._channel = channel(schema)
        self._queue = queue
        self._hint = hint
        self._hinted = False
        self.spread = 0.0

    def woke(self, *, found: bool) -> None:
        """Learn from a claim: hints that find nothing mean that many workers wake up for one."""
        if self._hinted:
            self._hinted = False
            self.spread = 0.0 if found else min(max(self.spread * 2, 0.001), SPREAD)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """
        Listen until cancelled.

        Raises:
            BackendError: if listening cannot begin; later troubles are logged and waited out.
        """
        started, wait = False, BACKOFF[0]
        while True:
            try:
                connection = await self._open()
            except (Error, OSError, TimeoutError, BackendError) as error:
                if not started:
                    raise self._told(error) from error
                log.warning("listening failed, polling instead: %s", self._told(error))
            else:
                if not started:
                    started = True
                    task_status.started()
                try:
                    self._hint()
                    wait = BACKOFF[0]
                    await self._listen(connection)
                except (Error, OSError, TimeoutError) as error:
                    log.warning("the listener was lost, listening again: %s", self._told(error))
                finally:
                    connection.pgconn.finish()
            await anyio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            wait = min(wait * 2, BACKOFF[1])

    async def _open(self) -> Connection:
        connection = await Connection.open(self._dsn, "layered listen")
        try:
            with anyio.fail_after(PING_LIMIT):
                await self._begin(connection)
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    async def _begin(self, connection: Connection) -> None:
        if await connection.pooled():
            msg = (
                f"listening at {shown(self._dsn)}: a pooler stands before the server, and would "
                "lose notifications; give the server's own address: "
                "PostgresStorage.with_notify(..., listen=...)"
            )
            raise Fatal(msg)
        await connection.execute(f"LISTEN {self._channel}".encode())

    async def _listen(self, connection: Connection) -> None:
        while True:
            found: list[bytes] = []
            with anyio.move_on_after(PING_EVERY):
                told = await connection.wait(generators.notifies(connection.pgconn))
                found = [each.extra for each in told]
            if self._queue.encode() in found:
                if self.spread > 0:
                    await anyio.sleep(random.uniform(0, self.spread))  # noqa: S311 - spreads load
                self._hinted = True
                self._hint()
            elif not found:
                with anyio.fail_after(PING_LIMIT):
                    await connection.execute("SELECT 1")
                self._hint()  # what came beside the answer was not looked at

    def _told(self, error: Error | OSError | BackendError) -> BackendError:
        if isinstance(error, BackendError):
            return error
        return translate(error, shown(self._dsn))


class Notifier:
    """
    Sends hints, at most one each `TOGETHER` seconds, never inside a user's transaction.

    NOTIFY holds a lock of the whole server until its transaction is
    committed, so it gets a small one of its own, that waits for no disk.

    Args:
        pool: The connections to send by.
        schema: The schema, quoted.
        queue: The queue that something was pushed to.
    """

    __slots__ = ("_pool", "_values", "_wanted")

    def __init__(self, pool: Pool, schema: str, queue: str) -> None:
        self._pool = pool
        self._values = hint_of(schema, queue)
        self._wanted = anyio.Event()

    def send(self) -> None:
        """Have a hint sent soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Send until cancelled; a hint that cannot be sent is lost, and costs a poll."""
        while True:
            await self._wanted.wait()
            await self.flush()
            await anyio.sleep(TOGETHER)

    async def flush(self) -> None:
        """Send now what is to be sent."""
        if self._wanted.is_set():
            self._wanted = anyio.Event()
            with suppress(BackendError):
                await self._pool.run(
                    "push", lambda connection: connection.execute(_NOTIFY, self._values)
                )


def hint_of(schema: str, queue: str) -> Mapping[str, str]:
    """Make the parameters of a hint."""
    return {"channel": channel(schema).strip('"'), "queue": queue}


def channel(schema: str) -> str:
    """Name the channel of a schema, quoted."""
    return '"layered_' + schema.strip('"') + '"'


@asynccontextmanager
async def hinting(listener: Listener, notifier: Notifier) -> AsyncIterator[None]:
    """
    Listen and send while the context is open.

    Raises:
        BackendError: if listening cannot begin.
    """
    failed: BackendError | None = None
    async with anyio.create_task_group() as group:
        try:
            await group.start(listener.run)
        except BackendError as error:
            failed = error
        else:
            group.start_soon(notifier.run)
            try:
                yield
            finally:
                with anyio.move_on_after(PING_LIMIT, shield=True):
                    await notifier.flush()
        group.cancel_scope.cancel()
    if failed is not None:
        raise failed
