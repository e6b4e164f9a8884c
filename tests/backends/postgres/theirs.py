"""Every kind of transaction that a user may have, behind one interface, all of it synchronous."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import asyncpg  # type: ignore[import-untyped] # it has no types
import django  # type: ignore[import-untyped] # nor has it
import psycopg
import sqlalchemy
from anyio.from_thread import BlockingPortal, start_blocking_portal
from django.conf import settings  # type: ignore[import-untyped] # the same
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from layered.backend import Answer, Pushed, Settle
from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.connection import Connection

Storage = PostgresStorage[Any]


class Theirs(ABC):
    """
    An open transaction of the user's.

    Attributes:
        tx: What the storage is given.
    """

    tx: Any

    @abstractmethod
    def push(self, storage: Storage, args: object, **options: Any) -> Pushed:
        """Push in it."""

    @abstractmethod
    def push_many(self, storage: Storage, many: list[Any], **options: Any) -> Sequence[Pushed]:
        """Push several in it."""

    @abstractmethod
    def execute(self, statement: str) -> None:
        """Do something of the user's own."""

    @abstractmethod
    def commit(self) -> None:
        """Commit it."""

    @abstractmethod
    def rollback(self) -> None:
        """Roll it back."""


class Sync(Theirs):
    """One of a program that has no event loop."""

    def __init__(
        self, tx: Any, execute: Callable[[str], object], end: Callable[[bool], object]
    ) -> None:
        self.tx = tx
        self._execute = execute
        self._end = end

    def push(self, storage: Storage, args: object, **options: Any) -> Pushed:
        return storage.push_in_sync(self.tx, args, **options)

    def push_many(self, storage: Storage, many: list[Any], **options: Any) -> Sequence[Pushed]:
        return storage.push_many_in_sync(self.tx, many, **options)

    def execute(self, statement: str) -> None:
        self._execute(statement)

    def commit(self) -> None:
        self._end(True)

    def rollback(self) -> None:
        self._end(False)


class Async(Theirs):
    """One of an async program, whose event loop runs in a thread."""

    def __init__(self, portal: BlockingPortal, tx: Any, connection: Any = None) -> None:
        self.portal = portal
        self.tx = tx
        self._connection = connection or tx

    def push(self, storage: Storage, args: object, **options: Any) -> Pushed:
        return self.portal.call(partial(storage.push_in, self.tx, args, **options))

    def push_many(self, storage: Storage, many: list[Any], **options: Any) -> Sequence[Pushed]:
        return self.portal.call(partial(storage.push_many_in, self.tx, many, **options))

    def settle(self, storage: Storage, item: Settle) -> Answer:
        """Settle a run in it, which commits it."""
        answer: Answer = self.portal.call(storage.settle_in, self.tx, item)
        return answer

    def execute(self, statement: str) -> None:
        is_sqlalchemy = type(self._connection).__module__.startswith("sqlalchemy")
        query: Any = sqlalchemy.text(statement) if is_sqlalchemy else statement
        self.portal.call(self._connection.execute, query)

    def commit(self) -> None:
        self.portal.call(self.tx.commit)

    def rollback(self) -> None:
        self.portal.call(self.tx.rollback)


class AsyncpgConnection(Async):
    """A connection of asyncpg, which others than the transaction's own object may not end."""

    def __init__(self, portal: BlockingPortal, connection: Any) -> None:
        super().__init__(portal, connection)
        self.transaction = connection.transaction()
        portal.call(self.transaction.start)

    def commit(self) -> None:
        self.portal.call(self.transaction.commit)

    def rollback(self) -> None:
        self.portal.call(self.transaction.rollback)


UNENCRYPTED = {
    "psycopg": {"sslmode": "disable", "gssencmode": "disable"},
    "asyncpg": {"ssl": "disable"},
    "": {"sslmode": "disable"},
}
"""So that a proxy can look into it; each has its own words."""


def url(dsn: str, driver: str) -> sqlalchemy.URL:
    """Write a DSN as SQLAlchemy reads it."""
    parts: dict[str, Any] = conninfo_to_dict(dsn)
    return sqlalchemy.URL.create(
        f"postgresql+{driver}" if driver else "postgresql",
        username=parts.get("user"),
        password=parts.get("password"),
        host=parts["host"],
        port=int(parts["port"] or 5432),
        database=parts["dbname"],
        query=UNENCRYPTED[driver],
    )


def uri(dsn: str) -> str:
    """Write a DSN as asyncpg reads it."""
    return url(dsn, "").render_as_string(hide_password=False)


@contextmanager
def psycopg_sync(dsn: str, *, cursor: bool = False) -> Iterator[Sync]:
    """Open a connection of psycopg."""
    with psycopg.connect(dsn) as tx:

        def end(commit: bool) -> None:
            tx.commit() if commit else tx.rollback()

        yield Sync(tx.cursor() if cursor else tx, lambda text: tx.execute(text.encode()), end)


@contextmanager
def psycopg_block(dsn: str) -> Iterator[Sync]:
    """Open a connection that commits at once, and a transaction in it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        block = connection.transaction()
        tx = block.__enter__()

        def end(commit: bool) -> None:
            error = None if commit else psycopg.Rollback()
            block.__exit__(None if commit else psycopg.Rollback, error, None)

        yield Sync(tx, lambda text: connection.execute(text.encode()), end)


@contextmanager
def sqlalchemy_sync(dsn: str, make: Callable[[Any], Any]) -> Iterator[Sync]:
    """Open what *make* makes of an engine."""
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"), poolclass=NullPool)
    tx = make(engine)

    def end(commit: bool) -> None:
        tx.commit() if commit else tx.rollback()

    yield Sync(tx, lambda text: tx.execute(sqlalchemy.text(text)), end)
    tx.close()
    engine.dispose()


def scoped(engine: Any) -> Any:
    """Make a session of a thread."""
    return scoped_session(sessionmaker(engine))


@contextmanager
def django_sync(dsn: str) -> Iterator[Sync]:
    """Open a transaction of Django's, nested in none."""
    parts = conninfo_to_dict(dsn)
    if not settings.configured:
        names = {"HOST": "host", "PORT": "port", "USER": "user", "NAME": "dbname"}
        default = {name: parts.get(part, "") for name, part in names.items()}
        default |= {"ENGINE": "django.db.backends.postgresql", "PASSWORD": parts.get("password")}
        settings.configure(DATABASES={"default": default})
        django.setup()
    from django.db import connection, transaction  # type: ignore[import-untyped] # the same

    atomic = transaction.atomic()
    atomic.__enter__()

    def execute(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    def end(commit: bool) -> None:
        if not commit:
            transaction.set_rollback(True)
        atomic.__exit__(None, None, None)

    try:
        yield Sync(connection, execute, end)
    finally:
        if connection.in_atomic_block:
            end(False)
        connection.close()


@asynccontextmanager
async def psycopg_async(dsn: str) -> AsyncIterator[Any]:
    """Open a connection of psycopg."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection


@asynccontextmanager
async def ours(dsn: str) -> AsyncIterator[Any]:
    """Open a connection like those that effects get, in a transaction."""
    connection = await Connection.open(dsn, "tests")
    await connection.execute("BEGIN")
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def sqlalchemy_async(driver: str, make: Callable[[Any], Any], dsn: str) -> AsyncIterator[Any]:
    """Open what *make* makes of an engine."""
    engine = create_async_engine(url(dsn, driver), poolclass=NullPool)
    tx = make(engine)
    if not isinstance(tx, AsyncSession | async_scoped_session):
        await tx.start()
    elif driver == "asyncpg":
        await tx.connection()  # asyncpg looks for files when it connects
    yield tx
    await tx.close()
    await engine.dispose()


def async_scoped(engine: Any) -> Any:
    """Make a session of one scope."""
    return async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)


@asynccontextmanager
async def asyncpg_plain(dsn: str) -> AsyncIterator[Any]:
    """Open a connection of asyncpg."""
    connection = await asyncpg.connect(uri(dsn))
    yield connection
    await connection.close()


@asynccontextmanager
async def asyncpg_pooled(dsn: str) -> AsyncIterator[Any]:
    """Take a connection of a pool of asyncpg's."""
    async with (
        asyncpg.create_pool(uri(dsn), min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        yield connection


@contextmanager
def run(
    open_: Callable[[str], Any],
    dsn: str,
    *,
    loop: str = "asyncio",
    make: Callable[[BlockingPortal, Any], Async] = Async,
) -> Iterator[Async]:
    """Run an event loop in a thread for a transaction."""
    with (
        start_blocking_portal(loop) as portal,
        portal.wrap_async_context_manager(open_(dsn)) as tx,
    ):
        yield make(portal, tx)


def with_cursor(portal: BlockingPortal, connection: Any) -> Async:
    """Give the storage a cursor."""
    return CursorOf(portal, connection.cursor(), connection)


class CursorOf(Async):
    """A cursor of a connection, which ends the transaction."""

    def commit(self) -> None:
        self.portal.call(self._connection.commit)

    def rollback(self) -> None:
        self.portal.call(self._connection.rollback)


def asyncpg_transaction(portal: BlockingPortal, connection: Any) -> Async:
    """Begin a transaction, and give the storage that."""
    transaction = connection.transaction()
    portal.call(transaction.start)
    return Async(portal, transaction, connection)


Kind = Callable[[str], AbstractContextManager[Theirs]]

SYNC: dict[str, Kind] = {
    "psycopg": psycopg_sync,
    "psycopg cursor": partial(psycopg_sync, cursor=True),
    "psycopg block": psycopg_block,
    "SQLAlchemy Connection": partial(sqlalchemy_sync, make=lambda engine: engine.connect()),
    "SQLAlchemy Session": partial(sqlalchemy_sync, make=Session),
    "SQLAlchemy scoped_session": partial(sqlalchemy_sync, make=scoped),
    "Django": django_sync,
}
ENDED_BY_US: dict[str, Callable[[str], AbstractContextManager[Async]]] = {
    "psycopg": partial(run, psycopg_async),
    "our Connection on asyncio": partial(run, ours),
    "our Connection on trio": partial(run, ours, loop="trio"),
    **{
        f"SQLAlchemy {name} on {driver}": partial(run, partial(sqlalchemy_async, driver, make))
        for driver in ("psycopg", "asyncpg")
        for name, make in (
            ("AsyncConnection", lambda engine: engine.connect()),
            ("AsyncSession", AsyncSession),
            ("async_scoped_session", async_scoped),
        )
    },
    "asyncpg transaction": partial(run, asyncpg_plain, make=asyncpg_transaction),
}
"""Transactions that `settle_in` takes."""
ASYNC: dict[str, Kind] = {
    **ENDED_BY_US,
    "psycopg cursor": partial(run, psycopg_async, make=with_cursor),
    "asyncpg": partial(run, asyncpg_plain, make=AsyncpgConnection),
    "asyncpg pool": partial(run, asyncpg_pooled, make=AsyncpgConnection),
}
KINDS: dict[str, Kind] = {
    **{f"async {name}": kind for name, kind in ASYNC.items()},
    **{f"sync {name}": kind for name, kind in SYNC.items()},
}


def outside_sync(dsn: str) -> Iterator[Any]:
    """Make connections of sync programs that are in no transaction."""
    with psycopg.connect(dsn, autocommit=True) as of_psycopg:
        yield of_psycopg
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as of_sqlalchemy:
        yield of_sqlalchemy
    engine.dispose()
    with django_sync(dsn) as theirs:
        theirs.rollback()
        yield theirs.tx


async def outside_async(dsn: str) -> AsyncIterator[Any]:
    """Make connections of async programs that are in no transaction."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as of_psycopg:
        yield of_psycopg
    async with asyncpg_plain(dsn) as of_asyncpg:
        yield of_asyncpg
    for driver in ("psycopg", "asyncpg"):
        engine = create_async_engine(url(dsn, driver), isolation_level="AUTOCOMMIT")
        async with engine.connect() as of_sqlalchemy:
            yield of_sqlalchemy
        await engine.dispose()
