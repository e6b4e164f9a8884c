"""Transactions of programs without an event loop: psycopg, SQLAlchemy, Django."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from psycopg import Connection, Cursor, Transaction
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from layered.backends.postgres.statement import named_values
from layered.backends.postgres.within import Within, is_of, shown

_KNOWN = (
    "a Connection of psycopg 3, a Connection or Session of SQLAlchemy on psycopg, or Django's "
    "connection on psycopg 3"
)


def within_sync(tx: Any) -> Within:  # noqa: ANN401 - that is the question
    """
    Take a transaction of the user's.

    Raises:
        TypeError: if it is none that we know; the message has those.
    """
    if isinstance(tx, Cursor | Transaction):
        tx = tx.connection
    if isinstance(tx, Connection):
        return _Psycopg(tx)
    if is_of(tx, "sqlalchemy.orm", "scoped_session"):
        tx = tx()
    if is_of(tx, "sqlalchemy.orm", "Session"):
        tx = tx.connection()
    if is_of(tx, "sqlalchemy", "Connection") and tx.dialect.driver == "psycopg":
        return _Sqlalchemy(tx)
    if getattr(tx, "vendor", "") == "postgresql" and tx.Database.__name__ == "psycopg":
        return _Django(tx)
    msg = (
        f"pushing in a transaction: got {shown(tx)}; give {_KNOWN}; async ones go to "
        "await storage.push_in()"
    )
    raise TypeError(msg)


class _Psycopg(Within):
    kind: ClassVar[str] = "a psycopg connection"

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        idle = connection.info.transaction_status == TransactionStatus.IDLE
        self.autocommit = idle and connection.autocommit

    async def send(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        with Cursor(self._connection, row_factory=tuple_row) as cursor:
            cursor.execute(query.encode(), named_values(values) or None)
            return cursor.fetchall() if cursor.description else []


class _Sqlalchemy(Within):
    kind: ClassVar[str] = "an SQLAlchemy connection"

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy is not imported
        self._connection = connection
        self.autocommit = bool(connection.connection.dbapi_connection.autocommit)

    async def send(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        result = self._connection.exec_driver_sql(query, named_values(values) or None)
        rows: Sequence[Any] = result.fetchall() if result.returns_rows else []
        return rows


class _Django(Within):
    kind: ClassVar[str] = "Django's connection"

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - Django is not imported
        self._connection = connection
        self.autocommit = not connection.in_atomic_block and connection.get_autocommit()

    async def send(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, named_values(values) or None)
            return cursor.fetchall() if cursor.description else []
