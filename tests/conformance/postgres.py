"""PostgreSQL under the rules: a schema for each storage, and a server whose clock a rule sets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
from psycopg.conninfo import make_conninfo

from layered.backend import Limits, Storage
from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.migrate import statements
from layered.task import new_id
from layered.testing.conformance.backend import Clock
from tests.servers.shared import postgres_dsn

CLOCK = """
create schema {schema};
create table {schema}.moved (at double precision not null);
insert into {schema}.moved values (0);
create function {schema}.clock_timestamp() returns timestamptz stable language sql
    as 'select to_timestamp(at) from {schema}.moved';
create function {schema}.statement_timestamp() returns timestamptz stable language sql
    as 'select to_timestamp(at) from {schema}.moved';
"""
"""What PostgreSQL finds in place of its own functions, where this schema stands before its own."""

MOVE = "update {schema}.moved set at = %s"
COPY = "insert into {to}.{table} select * from {from_}.{table}"


@attrs.frozen
class MakePostgres:
    """Makes PostgreSQL storages, each in a schema of its own; to be made outside event loops."""

    folder: Path
    dsn: str = attrs.field(factory=postgres_dsn)

    def __call__(self, now: Clock, limits: Limits) -> PostgresStorage[str]:
        name = f"rules_{new_id().replace('-', '')}"
        clock = f"{name}_clock"
        dsn = make_conninfo(self.dsn, options=f"-c search_path={clock},pg_catalog")

        async def move(seconds: float) -> None:
            connection = await Connection.open(dsn, "rules")
            try:
                known = await connection.execute("select to_regnamespace(%s) is null", (clock,))
                if (await known.fetchall())[0][0]:
                    await connection.execute(CLOCK.format(schema=clock).encode())
                await connection.execute(MOVE.format(schema=clock).encode(), (seconds,))
            finally:
                await connection.close()

        now.moved = move
        return PostgresStorage(dsn, str, schema=name, limits=limits)

    async def copy(self, storage: Storage[Any], now: Clock, limits: Limits) -> PostgresStorage[str]:
        """Copy the tables into a schema of their own."""
        assert isinstance(storage, PostgresStorage)
        copy = self(now, limits)
        connection = await Connection.open(self.dsn, "rules")
        try:
            for statement in statements(copy.schema):
                await connection.execute(statement.encode())
            for table in ("task", "dedup", "checkpoint", "queue", "worker"):
                names = {"to": copy.schema, "from_": storage.schema, "table": table}
                await connection.execute(COPY.format(**names).encode())
        finally:
            await connection.close()
        return copy

    def effect(self, error: Exception | None) -> Callable[[Connection], Awaitable[None]]:
        """Make an effect: a row in a table of the user's, which stands beside the clock."""

        async def effect(connection: Connection) -> None:
            await connection.execute("create table if not exists effect (number integer)")
            await connection.execute("insert into effect values (1)")
            if error is not None:
                raise error

        return effect

    async def effects(self, storage: Storage[Any]) -> int:
        """Count the rows."""
        assert isinstance(storage, PostgresStorage)
        connection = await Connection.open(storage._pool._dsn, "rules")
        try:
            found = await connection.execute("select to_regclass('effect') is not null")
            if not (await found.fetchall())[0][0]:
                return 0
            counted = await connection.execute("select count(*) from effect")
            return int((await counted.fetchall())[0][0])
        finally:
            await connection.close()
