"""The operations of SQLite, each on a batch of some size among a backlog."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

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
from layered.backends.sqlite import lease as leases, prune, push, read
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
        uses: How it finds rows: of tasks indexes, "id" and "seq"; other tables by their key.
        found: Of a backlog, whether it finds a whole batch there.
    """

    prepare: Callable[[sqlite3.Connection, int], Any]
    run: Callable[[sqlite3.Connection, Any], int]
    uses: frozenset[str]
    found: Callable[[str], bool] = lambda _: True


def uses(*ways: str) -> frozenset[str]:
    """Name how tasks are found."""
    return frozenset(ways)


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
        uses("seq", "dedup", "checkpoint"),
        lambda kind: BACKLOGS[kind].ended,
    ),
    "prune: remove": Operation(
        nothing,
        lambda database, count: walk(database, GONE, count),
        uses("seq", "dedup", "checkpoint"),
        lambda kind: BACKLOGS[kind].ended,
    ),
    "names": Operation(
        nothing,
        lambda database, count: count if read.names(database, "default") else 0,
        uses("task_ready"),
        lambda kind: kind != "all scheduled",
    ),
    "fetch": Operation(
        running,
        lambda database, runs: len(read.fetch(database, [run.id for run in runs])),
        uses("id"),
    ),
}
