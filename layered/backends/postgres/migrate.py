"""Migrations: the schema's versions, and how a database gets to the newest."""

from __future__ import annotations

from collections.abc import Sequence

from layered.backends.postgres.connection import Connection
from layered.backends.postgres.queries import named, text
from layered.errors import Fatal

MIGRATIONS = ("schema.sql",)
"""The files that lead from each version to the next; each writes down its own."""

VERSION = len(MIGRATIONS)


def statements(schema: str, version: int = 0) -> Sequence[str]:
    """
    Answer the SQL that leads from *version* to the newest.

    Args:
        schema: The schema, quoted.
        version: Where the database stands; 0 for not at all.
    """
    return [text(file, schema) for file in MIGRATIONS[version:]]


async def version(connection: Connection, schema: str) -> int:
    """Read where a database stands; 0 if it has no such schema."""
    # Not to_regclass(): while this waited for the lock, it would not have heard of the new table.
    found = await connection.execute(
        "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'migration'",
        (schema.strip('"'),),
    )
    if not await found.fetchall():
        return 0
    cursor = await connection.execute(named("read.sql", schema)["version"])
    ((stands,),) = await cursor.fetchall()
    return int(stands)


async def check(connection: Connection, schema: str, where: str) -> int:
    """
    Answer where a database stands.

    Raises:
        Fatal: if that is beyond what this program knows.
    """
    stands = await version(connection, schema)
    if stands > VERSION:
        msg = (
            f"using schema {schema} of {where}: it has version {stands}, this program knows up "
            f"to {VERSION}; update layered-tasks"
        )
        raise Fatal(msg)
    return stands


async def migrate(
    connection: Connection, schema: str, where: str, *, dry_run: bool
) -> Sequence[str]:
    """
    Bring a database to the newest version, in one transaction, or tell how.

    Who comes at the same time waits, and then finds nothing left to do.

    Returns:
        The statements.
    """
    stands = await check(connection, schema, where)
    if dry_run or stands == VERSION:
        return statements(schema, stands)
    async with connection.together():
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"layered {schema}",)
        )
        made = statements(schema, await check(connection, schema, where))
        for statement in made:
            await connection.execute(statement.encode())
    return made
