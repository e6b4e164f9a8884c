"""A schema with the tables of layered, and one of the user's."""

from __future__ import annotations

from typing import Any

import anyio
import psycopg

from layered import Status
from layered.backend import Claimant, Pushed, Record
from layered.backends.postgres import PostgresStorage
from layered.task import Lease
from tests.backends.postgres.theirs import Storage, Theirs

BOOK = "CREATE TABLE {schema}.book (title text PRIMARY KEY)"


class Place:
    """A schema with the tables of layered, and one of the user's."""

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn = dsn
        self.schema = schema
        self.storage = self.make()
        anyio.run(self.storage.migrate)
        self.query(BOOK.format(schema=schema))

    def make(self, **options: Any) -> Storage:
        """Make a storage that is not open."""
        return PostgresStorage(self.dsn, str, schema=self.schema, **options)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Look from outside of all transactions."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def titles(self) -> list[str]:
        """Read the user's table."""
        return [title for (title,) in self.query(f"SELECT title FROM {self.schema}.book")]  # noqa: S608 - ours

    def records(self, *pushed: Pushed) -> list[Record | None]:
        """Read tasks as layered does."""

        async def fetch() -> list[Record | None]:
            async with self.make() as storage:
                return list(await storage.fetch([one.id for one in pushed]))

        return anyio.run(fetch)

    def statuses(self, *pushed: Pushed) -> list[Status | None]:
        """Read the states of tasks."""
        return [record.status if record else None for record in self.records(*pushed)]

    def leases(self) -> list[Lease]:
        """Claim all tasks, in the order of their payloads."""

        async def claim() -> list[Lease]:
            async with self.make() as storage:
                claimed = await storage.claim(Claimant("default", "me"), {"str": 100}, 100)
                return sorted(claimed.leases, key=lambda lease: lease.payload)

        return anyio.run(claim)

    def claim(self) -> list[bytes]:
        """Claim all tasks; answer their payloads."""
        return [lease.payload for lease in self.leases()]

    def note(self, theirs: Theirs, title: str) -> None:
        """Write to the user's table in the user's transaction."""
        theirs.execute(f"INSERT INTO {self.schema}.book VALUES ('{title}')")  # noqa: S608 - ours
