"""
What each operation costs PostgreSQL: rows that it visits, and blocks; and by which indexes.

By the server's own counts for the transaction, so of the very statements that the storage sends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from unittest.mock import patch

from layered.backends.postgres.connection import Connection
from tests.plans.postgres.operations import Operation, Store

MODES = ("no statistics", "statistics", "generic plans")
"""What the planner knows: nothing, the table, or the table and not the values."""

_COUNTS = """
SELECT relname, relkind, pg_stat_get_xact_numscans(oid), pg_stat_get_xact_tuples_returned(oid),
    pg_stat_get_xact_blocks_fetched(oid)
FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'i')
"""
_FORGET = """
DELETE FROM pg_statistic WHERE starelid IN (
    SELECT oid FROM pg_class WHERE relnamespace = %s::regnamespace
)
"""
SMALL_TABLES = {"queue", "worker", "migration"}
"""With a row for each queue and worker: whether by an index or not is the same."""


class Cost(NamedTuple):
    """What a batch took: rows and index entries visited, blocks looked at, items found, ways."""

    rows: int
    blocks: int
    found: int
    ways: frozenset[str]


async def set_mode(store: Store, mode: str) -> None:
    """Have the planner know what *mode* says."""
    connection, schema = store
    if mode == "no statistics":
        await connection.execute(_FORGET, (schema,))
    else:
        await connection.execute(
            f"ANALYZE {schema}.task, {schema}.dedup, {schema}.checkpoint".encode()
        )
    generic = "force_generic_plan" if mode == "generic plans" else "auto"
    await connection.execute("SELECT set_config('plan_cache_mode', %s, false)", (generic,))
    connection.prepare_threshold = 0


@asynccontextmanager
async def within(connection: Connection) -> AsyncIterator[None]:
    """Stand in for `Connection.together`, where all is one transaction."""
    yield


async def cost(store: Store, operation: Operation, count: int) -> Cost:
    """Count what an operation on a batch of *count* takes, and undo it."""
    connection = store.connection
    await connection.execute("BEGIN")
    try:
        with patch.object(Connection, "together", within):
            prepared = await operation.prepare(store, count)
            before = await _counts(store)
            found = await operation.run(store, prepared)
            after = await _counts(store)
    finally:
        await connection.execute("ROLLBACK")
    rows, blocks, ways = 0, 0, set()
    for name, (kind, *new) in after.items():
        scans, returned, fetched = (
            now - old for now, old in zip(new, before[name][1:], strict=True)
        )
        rows += returned
        blocks += fetched
        if scans and not (kind == "r" and name in SMALL_TABLES) and not name.endswith("_pkey"):
            ways.add(f"all of {name}" if kind == "r" else name)
    return Cost(rows, blocks, found, frozenset(ways))


async def _counts(store: Store) -> dict[str, tuple[str, int, int, int]]:
    cursor = await store.connection.execute(_COUNTS, (store.schema,))
    return {name: (kind, *counts) for name, kind, *counts in await cursor.fetchall()}
