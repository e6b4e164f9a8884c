"""
A shop in several programs: ``python -m tests.backends.postgres.shop WHAT DSN SCHEMA [NUMBER]``.

``commit`` and ``rollback`` store an order with SQLAlchemy and push a task for it in the same
transaction, each in its own way of ending it. ``work`` runs a worker for what there is.
"""

from __future__ import annotations

import logging
import sys

import attrs
import sqlalchemy
from sqlalchemy.pool import NullPool

from layered import PostgresStorage, WorkerBuilder
from tests.backends.postgres.theirs import url


@attrs.frozen
class Ship:
    """Ship an order."""

    number: int


def order(storage: PostgresStorage[Ship], dsn: str, number: int, *, commit: bool) -> None:
    """Store an order and the task that follows from it."""
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"), poolclass=NullPool)
    insert = sqlalchemy.text(f"INSERT INTO {storage.schema}.orders VALUES (:number)")  # noqa: S608 - ours
    with engine.begin() as connection:
        connection.execute(insert, {"number": number})
        storage.push_in_sync(connection, Ship(number))
        if not commit:
            raise SystemExit(3)


def main() -> None:
    """Do what is asked."""
    what, dsn, schema, *rest = sys.argv[1:]
    storage = PostgresStorage(dsn, Ship, schema=schema)
    if what == "work":
        logging.basicConfig(level=logging.WARNING)

        async def ship(task: Ship) -> None:
            sys.stdout.write(f"{task.number}\n")

        WorkerBuilder("shop").backend(storage).build(ship).run_sync(burst=True)
    else:
        order(storage, dsn, int(rest[0]), commit=what == "commit")


if __name__ == "__main__":
    main()
