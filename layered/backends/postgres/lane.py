"""Lanes: connections of one purpose each, so that no work holds up another's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio
from psycopg import Error

from layered.backends.postgres.connection import Connection
from layered.backends.postgres.faults import translate
from layered.errors import BackendBroken, BackendClosed, Transient

T = TypeVar("T")


LIMIT = 10.0
"""Seconds that one operation may take, connecting included."""


class Lane:
    """
    One connection, opened at the first use and again after it was lost.

    Operations take turns, first come first served.

    Args:
        dsn: Where to connect.
        where: The same for people, without a password.
        name: What for; ``application_name`` shows it to the server's administrator.
        settings: Settings of its sessions.
    """

    __slots__ = ("_closed", "_connection", "_dsn", "_name", "_settings", "_turn", "_where")

    def __init__(self, dsn: str, where: str, name: str, settings: Mapping[str, str]) -> None:
        self._dsn = dsn
        self._where = where
        self._name = f"layered {name}"
        self._settings = settings
        self._turn = anyio.Lock(fast_acquire=True)
        self._connection: Connection | None = None
        self._closed = False

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        again: bool = True,
        limit: float = LIMIT,
    ) -> T:
        """
        Do *work* with the connection, alone.

        A connection may have died unnoticed since its last use. Work that
        finds it so is done once more on a new one.

        Args:
            work: What to do; harmless if its outcome is unknown and it is repeated.
            again: Whether it may be repeated here.
            limit: Seconds; infinite for work that ends by itself.

        Raises:
            BackendClosed: if the lane was closed.
            BackendError: what the server's error means.

        Cancellation:
            The server is asked to stop; the connection comes free or is closed.
        """
        with anyio.move_on_after(limit):  # not `fail_after`: work may raise a TimeoutError itself
            async with self._turn:
                used = self._connection is not None
                try:
                    return await self._once(work)
                except BackendBroken:
                    if not (used and again):
                        raise
                return await self._once(work)
        msg = f"using {self._where}: no answer within {limit:g} s; try again"
        raise Transient(msg)

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            connection = await self._connected()
            return await work(connection)
        except (Error, OSError) as error:
            raise translate(error, self._where) from error
        finally:
            self._drop_if_broken()

    async def _connected(self) -> Connection:
        if self._closed:
            msg = f"using {self._where}: the storage is closed; open it: async with ..."
            raise BackendClosed(msg)
        if self._connection is None:
            connection = await Connection.open(self._dsn, self._name)
            try:
                await connection.tune(self._settings)
            except BaseException:
                connection.pgconn.finish()
                raise
            self._connection = connection
        return self._connection

    def _drop_if_broken(self) -> None:
        connection = self._connection
        if connection is not None and (connection.closed or connection.busy):
            connection.pgconn.finish()
            self._connection = None

    async def aclose(self) -> None:
        """Close when the work at hand is done; what waits is refused."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if self._connection is not None:
                    await self._connection.close()
                    self._connection = None
