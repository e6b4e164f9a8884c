"""What each operation costs SQLite, in steps of its machine, and how it finds its rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from layered.backends.sqlite import connection
from tests.plans.control_operations import CONTROL
from tests.plans.operations import OPERATIONS as ALL, Operation

OPERATIONS: Mapping[str, Operation] = {**ALL, **CONTROL}


class Recording(sqlite3.Connection):
    """A connection that notes its statements with their values, where `noted` is a list."""

    noted: list[tuple[str, Any]] | None = None

    def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:
        """Note and run a statement."""
        if self.noted is not None:
            self.noted.append((statement, values))
        return super().execute(statement, values)

    def executemany(self, statement: str, values: Any, /) -> sqlite3.Cursor:
        """Note and run a statement, with the first of its values."""
        if self.noted is not None:
            self.noted.append((statement, values[0]))
        return super().executemany(statement, values)


@contextmanager
def opened(path: Path) -> Iterator[Recording]:
    """Open a store as the backend does."""
    with (
        patch("sqlite3.connect", partial(sqlite3.connect, factory=Recording)),
        closing(connection.connect(str(path))) as database,
    ):
        assert isinstance(database, Recording)
        yield database


class Cost(NamedTuple):
    """What a batch took: steps of SQLite's machine, and items found."""

    steps: int
    found: int


def cost(database: Recording, operation: Operation, count: int) -> Cost:
    """Count the steps of an operation on a batch of *count*, and undo it."""
    steps = 0

    def tick() -> None:
        nonlocal steps
        steps += 1

    database.execute("BEGIN IMMEDIATE")
    try:
        prepared = operation.prepare(database, count)
        database.set_progress_handler(tick, 1)
        found = operation.run(database, prepared)
    finally:
        database.set_progress_handler(None, 1)
        database.execute("ROLLBACK")
    return Cost(steps, found)


def statements(database: Recording, operation: Operation, count: int) -> list[tuple[str, Any]]:
    """List what an operation runs, with the values."""
    database.execute("BEGIN IMMEDIATE")
    try:
        prepared = operation.prepare(database, count)
        noted: list[tuple[str, Any]] = []
        database.noted = noted
        operation.run(database, prepared)
    finally:
        database.noted = None
        database.execute("ROLLBACK")
    return noted


_WAY = re.compile(r"^SEARCH (?:TABLE )?(task|dedup|checkpoint) USING (?:COVERING )?(.+?)(?: \(|$)")
_FORBIDDEN = re.compile(r"^SCAN (?:TABLE )?(?:task|dedup|checkpoint)\b|TEMP B-TREE|AUTOMATIC")
_NAMES = {
    "task INTEGER PRIMARY KEY": "seq",
    "task INDEX sqlite_autoindex_task_1": "id",
    "dedup PRIMARY KEY": "dedup",
    "checkpoint INDEX checkpoint_step": "checkpoint",
}


def ways(database: Recording, operation: Operation, count: int) -> frozenset[str]:
    """Name how an operation finds its rows; what reads or sorts all is named as it is."""
    found = set()
    for statement, values in statements(database, operation, count):
        if statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            continue
        for *_, line in database.execute(f"EXPLAIN QUERY PLAN {statement}", values):
            if way := _WAY.search(line):
                used = f"{way[1]} {way[2]}"
                found.add(_NAMES.get(used, used.removeprefix("task INDEX ")))
            elif _FORBIDDEN.search(line):
                found.add(line)
    return frozenset(found)
