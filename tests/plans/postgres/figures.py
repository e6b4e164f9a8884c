"""
Prints what each operation costs PostgreSQL at a million tasks, as a table.

::

    python -m tests.plans.postgres.figures
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import psycopg

from layered.backend import Done
from layered.backends.postgres.claim import claim
from layered.backends.postgres.connection import Connection
from tests.plans.postgres.backlogs import BACKLOGS, SETTINGS, make
from tests.plans.postgres.costs import cost, set_mode
from tests.plans.postgres.operations import ME, OPERATIONS, Store, end
from tests.servers.postgres import Server

SIZE = 1_000_000
MODE = "statistics"
ROUNDS = 200
"""Of 100 tasks each, that are run while a snapshot from before them is open."""


async def rows(server: Server, admin: psycopg.Connection[tuple[object]]) -> AsyncIterator[str]:
    """Make the rows of the table: index entries, rows and blocks for 10 and for 100."""
    yield f"| Rows, blocks for 10; for 100, of {SIZE:,} | " + " | ".join(BACKLOGS) + " |"
    yield "|---" * (1 + len(BACKLOGS)) + "|"
    columns = []
    for kind in BACKLOGS:
        admin.execute("DROP SCHEMA IF EXISTS large CASCADE")
        make(admin, "large", kind, SIZE)
        store = Store(await Connection.open(server.dsn, "figures"), "large")
        await set_mode(store, MODE)
        column = []
        for operation in OPERATIONS.values():
            took = [await cost(store, operation, count) for count in (10, 100)]
            column.append("; ".join(f"{each.rows:,}, {each.blocks:,}" for each in took))
        columns.append(column)
        await store.connection.close()
    for name, *cells in zip(OPERATIONS, *columns, strict=True):
        yield f"| {name} | " + " | ".join(cells) + " |"


async def under_a_snapshot(server: Server, admin: psycopg.Connection[tuple[object]]) -> str:
    """Claim and settle while an old snapshot is open, and say what a claim costs at the end."""
    admin.execute("DROP SCHEMA IF EXISTS large CASCADE")
    make(admin, "large", "all due", SIZE)
    store = Store(await Connection.open(server.dsn, "figures"), "large")
    await set_mode(store, MODE)
    before = await cost(store, OPERATIONS["claim"], 100)
    with psycopg.connect(server.dsn) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        for _ in range(ROUNDS):
            leases = (await claim(*store, ME, {"a": 100}, 100, due=False)).leases
            await end(store, leases, Done(b"1"))
        after = await cost(store, OPERATIONS["claim"], 100)
    await store.connection.close()
    return (
        f"A claim of 100 after {100 * ROUNDS:,} tasks were run under an open snapshot: "
        f"{after.rows:,} rows, {after.blocks:,} blocks; before: {before.rows:,}, {before.blocks:,}."
    )


async def main() -> None:
    """Print the table."""
    with Server(settings=SETTINGS) as server, psycopg.connect(server.dsn, autocommit=True) as admin:
        async for line in rows(server, admin):
            print(line)  # noqa: T201 - a program that prints
        print()  # noqa: T201
        print(await under_a_snapshot(server, admin))  # noqa: T201


if __name__ == "__main__":
    anyio.run(main)
