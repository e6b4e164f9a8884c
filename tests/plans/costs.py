"""What each operation costs SQLite, in steps of its machine, and how it finds its rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from layered.backend import (
    Cancelled,
    Claimant,
    Dead,
    Done,
    Ending,
    Failure,
    Limits,
    Release,
    Renew,
    Retry,
    Settle,
)
from layered.backends.sqlite import connection, lease as leases, prune, push, read
from layered.backends.sqlite.claim import claim
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.settle import release, settle
from layered.task import Draft, Lease, new_id
from tests.plans.backlogs import BACKLOGS, MONO, NOW

SOON = Clock(lambda: NOW, lambda: MONO)
LATER = Clock(lambda: NOW + 1e7, lambda: MONO)
FAILURE = Failure("ValueError", "no")
OLD = datetime(2000, 1, 1, tzinfo=UTC)


def nothing(database: sqlite3.Connection, count: int) -> int:
    """Prepare nothing."""
    return count


def drafts(database: sqlite3.Connection, count: int, **fields: Any) -> list[Draft]:
    """Make tasks to insert."""
    return [Draft(new_id(), "default", "own", b"1", **fields) for _ in range(count)]


def pushed(database: sqlite3.Connection, count: int) -> list[Draft]:
    """Insert tasks."""
    new = drafts(database, count)
    push.insert(database, SOON, new)
    return new


def running(database: sqlite3.Connection, count: int, lease: float = 30.0) -> list[Lease]:
    """Insert and claim tasks."""
    push.insert(database, SOON, drafts(database, count))
    claimant = Claimant("default", "me", lease=lease)
    return list(claim(database, SOON, claimant, {"own": count}, count).leases)


def expired(database: sqlite3.Connection, count: int) -> int:
    """Insert tasks that must not start any more."""
    push.insert(database, SOON, drafts(database, count, expires_at=OLD))
    return count


def claim_of_two(database: sqlite3.Connection, clock: Clock, count: int) -> int:
    """Claim of two names."""
    wanted = {"a": count, "b": count}
    return len(claim(database, clock, Claimant("default", "me"), wanted, count).leases)


def settled(database: sqlite3.Connection, count: int) -> list[Lease]:
    """Insert and claim tasks, and settle them."""
    runs = running(database, count)
    end(database, runs, Done(b"1"))
    return runs


def end(database: sqlite3.Connection, runs: Sequence[Lease], ending: Ending) -> int:
    """Settle runs."""
    return len(settle(database, SOON, [Settle(run.fence, ending, 1) for run in runs]))


def walk(database: sqlite3.Connection, limits: Limits, count: int) -> int:
    """Prune, one step from the oldest."""
    return prune.step(database, SOON, limits, 0, count).changed


class Operation(NamedTuple):
    """
    One operation, on a batch of some size.

    Args:
        prepare: Makes what it works on, from the size of the batch.
        run: Does it; answers how many items it found.
        uses: How it finds tasks: indexes, "id" and "seq".
        found: Of a backlog, whether it finds a whole batch there.
    """

    prepare: Callable[[sqlite3.Connection, int], Any]
    run: Callable[[sqlite3.Connection, Any], int]
    uses: frozenset[str]
    found: Callable[[str], bool] = lambda _: True


def uses(*ways: str) -> frozenset[str]:
    """Name how tasks are found."""
    return frozenset(ways)


FIRST_NAME = "SELECT name FROM task ORDER BY id LIMIT 1"
ENDED = Limits(keep_done=0.0, keep_dead=0.0, tombstone=1e9)
GONE = Limits(keep_done=0.0, keep_dead=0.0, tombstone=0.0)

OPERATIONS: Mapping[str, Operation] = {
    "claim": Operation(
        nothing,
        lambda database, count: claim_of_two(database, SOON, count),
        uses("task_future", "task_ready", "seq"),
        lambda kind: BACKLOGS[kind].due,
    ),
    "promote and claim": Operation(
        nothing,
        lambda database, count: claim_of_two(database, LATER, count),
        uses("task_future", "task_ready", "seq"),
        lambda kind: BACKLOGS[kind].later,
    ),
    "insert": Operation(
        drafts, lambda database, new: len(push.insert(database, SOON, new)), uses()
    ),
    "insert, again": Operation(
        pushed, lambda database, new: len(push.insert(database, SOON, new)), uses("id")
    ),
    "settle": Operation(
        running, lambda database, runs: end(database, runs, Done(b"1")), uses("id")
    ),
    "settle, again": Operation(
        settled, lambda database, runs: end(database, runs, Done(b"1")), uses("id")
    ),
    "settle, to retry": Operation(
        running, lambda database, runs: end(database, runs, Retry(FAILURE, 9.0)), uses("id")
    ),
    "settle, dead": Operation(
        running, lambda database, runs: end(database, runs, Dead(FAILURE)), uses("id")
    ),
    "settle, cancelled": Operation(
        running, lambda database, runs: end(database, runs, Cancelled()), uses("id")
    ),
    "release": Operation(
        running,
        lambda database, runs: len(
            release(database, SOON, [Release(run.fence, 0.0, 1) for run in runs])
        ),
        uses("id"),
    ),
    "renew": Operation(
        running,
        lambda database, runs: len(
            leases.renew(database, SOON, [Renew(run.fence, 1) for run in runs], 60.0)
        ),
        uses("id"),
    ),
    "reap": Operation(
        partial(running, lease=0.0),
        lambda database, runs: len(leases.reap(database, SOON, len(runs))),
        uses("task_running", "seq"),
    ),
    "prune: expired": Operation(
        expired,
        lambda database, count: prune.sweep(database, SOON, count),
        uses("task_expiring", "seq"),
    ),
    "prune: strip": Operation(
        nothing,
        lambda database, count: walk(database, ENDED, count),
        uses("seq"),
        lambda kind: BACKLOGS[kind].ended,
    ),
    "prune: remove": Operation(
        nothing,
        lambda database, count: walk(database, GONE, count),
        uses("seq"),
        lambda kind: BACKLOGS[kind].ended,
    ),
    "names": Operation(
        nothing,
        lambda database, count: count if read.names(database, "default") else 0,
        uses("task_ready"),
        lambda kind: kind != "all scheduled",
    ),
    "ids": Operation(
        # Of a name that is there: it looks at the ids of other names in between, for no index
        # serves this read of tools.
        lambda database, count: (*database.execute(FIRST_NAME).fetchone(), count),
        lambda database, wanted: len(read.ids(database, "default", wanted[0], "", wanted[1])),
        uses("id"),
    ),
    "fetch": Operation(
        running,
        lambda database, runs: len(read.fetch(database, [run.id for run in runs])),
        uses("id"),
    ),
}


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


_WAY = re.compile(
    r"^SEARCH (?:TABLE )?task USING (?:COVERING )?(?:INDEX (\w+)|INTEGER PRIMARY KEY)"
)
_FORBIDDEN = re.compile(r"^SCAN (?:TABLE )?task\b|TEMP B-TREE|AUTOMATIC")
_NAMES = {"sqlite_autoindex_task_1": "id", None: "seq"}


def ways(database: Recording, operation: Operation, count: int) -> frozenset[str]:
    """Name how an operation finds its tasks; what reads or sorts all is named as it is."""
    found = set()
    for statement, values in statements(database, operation, count):
        if statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            continue
        for *_, line in database.execute(f"EXPLAIN QUERY PLAN {statement}", values):
            if way := _WAY.search(line):
                found.add(_NAMES.get(way[1], way[1]))
            elif _FORBIDDEN.search(line):
                found.add(line)
    return frozenset(found)
