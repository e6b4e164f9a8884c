"""Transactions of async programs: psycopg, SQLAlchemy, asyncpg."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from psycopg import AsyncConnection, AsyncCursor, AsyncTransaction
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from layered.backends.postgres.statement import named_values, numbered
from layered.backends.postgres.within import Within, is_of
from layered.errors import WrongState

KNOWN = (
    "an AsyncConnection of psycopg 3, an AsyncConnection or AsyncSession of SQLAlchemy on psycopg "
    "or asyncpg, or a connection or started transaction of asyncpg"
)


class Ending(Within):
    """A transaction of the user's that we may end for them."""

    @abstractmethod
    async def prepare(self) -> None:
        """
        Make ready to be ended: send what the user's objects have not sent yet.

        Raises:
            TypeError: if there is nothing to commit it by.
            WrongState: if a block of the user's will commit it.
        """

    @abstractmethod
    async def commit(self) -> None:
        """Commit."""

    @abstractmethod
    async def rollback(self) -> None:
        """Roll back."""

    @abstractmethod
    def is_open(self) -> bool:
        """Tell, without asking the server, whether the transaction still stands."""


async def within_async(tx: Any) -> Ending | None:  # noqa: ANN401 - that is the question
    """Take a transaction of the user's; `None` if it is none that we know."""
    if isinstance(tx, AsyncCursor | AsyncTransaction):
        tx = tx.connection
    if isinstance(tx, AsyncConnection):
        return PsycopgAsync(tx)
    if is_of(tx, "asyncpg", "Connection") or is_of(tx, "asyncpg.pool", "PoolConnectionProxy"):
        return _Asyncpg(tx, None)
    if is_of(tx, "asyncpg.transaction", "Transaction"):
        return _Asyncpg(tx._connection, tx)  # noqa: SLF001 - there is no other way to it
    if is_of(tx, "sqlalchemy.ext.asyncio", "async_scoped_session"):
        tx = tx()
    connection = tx
    if is_of(tx, "sqlalchemy.ext.asyncio", "AsyncSession"):
        connection = await tx.connection()
    if is_of(connection, "sqlalchemy.ext.asyncio", "AsyncConnection") and (
        connection.dialect.driver in {"psycopg", "asyncpg"}
    ):
        raw = await connection.get_raw_connection()
        return _Sqlalchemy(connection, tx, raw)
    return None


class PsycopgAsync(Ending):
    """A psycopg connection, ours among them."""

    kind: ClassVar[str] = "a psycopg connection"

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self.autocommit = connection.autocommit and not self.is_open()

    async def send(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        """See `Within.send`."""
        async with AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
            await cursor.execute(query.encode(), named_values(values) or None)
            return await cursor.fetchall() if cursor.description else []

    async def prepare(self) -> None:
        """See `Ending.prepare`."""
        if getattr(self._connection, "_num_transactions", 0):
            raise _InBlock("connection.transaction()", "psycopg begins one by itself")

    async def commit(self) -> None:
        """See `Ending.commit`."""
        await self._connection.commit()

    async def rollback(self) -> None:
        """See `Ending.rollback`."""
        await self._connection.rollback()

    def is_open(self) -> bool:
        """See `Ending.is_open`."""
        return _stands(self._connection)


class _Asyncpg(Ending):
    kind: ClassVar[str] = "an asyncpg connection"

    def __init__(self, connection: Any, transaction: Any) -> None:  # noqa: ANN401 - not imported
        self._connection = connection
        self._transaction = transaction
        self.autocommit = not self.is_open()

    async def send(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        text, places = numbered(query, values)
        rows: Sequence[Any] = await self._connection.fetch(text, *places)
        return rows

    async def prepare(self) -> None:
        if self._transaction is None:
            msg = (
                "settling in a transaction: an asyncpg connection does not show its transaction; "
                "give that: transaction = connection.transaction(); await transaction.start()"
            )
            raise TypeError(msg)
        if getattr(self._transaction, "_managed", False):
            raise _InBlock("transaction", "await transaction.start()")

    async def commit(self) -> None:
        await self._transaction.commit()

    async def rollback(self) -> None:
        await self._transaction.rollback()

    def is_open(self) -> bool:
        return _stands(self._connection)


class _Sqlalchemy(Ending):
    kind: ClassVar[str] = "an SQLAlchemy connection"

    def __init__(self, connection: Any, owner: Any, raw: Any) -> None:  # noqa: ANN401 - not imported
        self._connection = connection
        self._owner = owner
        self._driver = raw.driver_connection
        self._numbered = connection.dialect.driver == "asyncpg"
        self.autocommit = bool(raw.dbapi_connection.autocommit)

    async def send(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        given: object = named_values(values)
        if self._numbered:
            query, given = numbered(query, values)
        result = await self._connection.exec_driver_sql(query, given or None)
        rows: Sequence[Any] = result.fetchall() if result.returns_rows else []
        return rows

    async def prepare(self) -> None:
        if self._owner is not self._connection:
            await self._owner.flush()

    async def commit(self) -> None:
        await self._owner.commit()

    async def rollback(self) -> None:
        await self._owner.rollback()

    def is_open(self) -> bool:
        return _stands(self._driver)


class _InBlock(WrongState):
    """A block of the user's ends the transaction."""

    def __str__(self) -> str:
        block, instead = self.args
        return (
            f"settling in a transaction: settle_in commits it, which inside 'async with {block}' "
            f"it cannot; leave the block out: {instead}"
        )


def _stands(connection: Any) -> bool:  # noqa: ANN401 - psycopg's or asyncpg's
    """Tell whether a driver's connection is in a transaction, as far as it knows."""
    if isinstance(connection, AsyncConnection):
        return connection.info.transaction_status in {
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        }
    return not connection.is_closed() and bool(connection.is_in_transaction())
