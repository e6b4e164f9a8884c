"""The operations of SQLite by which tasks, queues and workers are controlled, on a batch."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial

from layered.backend import Beat, Filter
from layered.backends.sqlite import cancel, dedup, progress, push, queues, read, workers
from layered.task import Dedup, Draft, Lease, OnConflict
from tests.plans.operations import (
    SOON,
    Operation,
    drafts,
    nothing,
    pushed,
    running,
    uses,
)


def keyed(
    database: sqlite3.Connection, count: int, on_conflict: OnConflict = OnConflict.KEEP
) -> list[Draft]:
    """Make tasks to insert, each with a key."""
    return [
        draft._replace(dedup=Dedup(f"own {at}", on_conflict))
        for at, draft in enumerate(drafts(database, count))
    ]


def met(
    database: sqlite3.Connection, count: int, on_conflict: OnConflict = OnConflict.KEEP
) -> list[Draft]:
    """Insert tasks; make others with the same keys."""
    push.insert(database, SOON, keyed(database, count))
    return keyed(database, count, on_conflict)


def cancelled(database: sqlite3.Connection, count: int) -> list[Draft]:
    """Insert tasks with keys, and cancel them."""
    new = keyed(database, count)
    push.insert(database, SOON, new)
    call_off(database, new)
    return new


def call_off(database: sqlite3.Connection, tasks: Sequence[Draft | Lease]) -> int:
    """Cancel tasks."""
    return len(cancel.cancel(database, SOON, [task.id for task in tasks]))


def kept(database: sqlite3.Connection, count: int) -> list[Lease]:
    """Claim tasks that keep a step."""
    runs = running(database, count)
    keep(database, runs)
    return runs


def keep(database: sqlite3.Connection, runs: Sequence[Lease]) -> int:
    """Keep a step of each run."""
    return sum(progress.checkpoint(database, run.fence, "step", b"1") == b"1" for run in runs)


def listed(database: sqlite3.Connection, count: int, names: Sequence[str] = ()) -> int:
    """List a page."""
    return len(read.page(database, Filter(names=names), None, count).tasks)


def paused(database: sqlite3.Connection, count: int) -> int:
    """Pause and resume a queue."""
    queues.register(database, "default")
    queues.pause(database, "default", None)
    queues.resume(database, "default")
    return count if queues.queues(database, SOON) else 0


def seen(database: sqlite3.Connection, count: int) -> int:
    """See workers, and let one go."""
    for number in range(count):
        workers.beat(database, SOON, Beat(str(number), "default", b"", 10.0))
    workers.leave(database, "nobody")
    return len(workers.workers(database, SOON))


CONTROL: Mapping[str, Operation] = {
    "insert with keys": Operation(
        keyed, lambda database, new: len(push.insert(database, SOON, new)), uses("id", "dedup")
    ),
    "insert with held keys": Operation(
        met, lambda database, new: len(push.insert(database, SOON, new)), uses("id", "dedup")
    ),
    "insert, to replace": Operation(
        partial(met, on_conflict=OnConflict.REPLACE),
        lambda database, new: sum(one.replaced for one in push.insert(database, SOON, new)),
        uses("id", "dedup"),
    ),
    "holder": Operation(
        met,
        lambda database, new: sum(
            dedup.holder(database, "default", one.dedup.key, 0) is not None for one in new
        ),
        uses("id", "dedup"),
    ),
    "cancel": Operation(pushed, call_off, uses("id")),
    "cancel, running": Operation(running, call_off, uses("id")),
    "cancel, again": Operation(cancelled, call_off, uses("id")),
    "requeue": Operation(
        cancelled,
        lambda database, old: sum(
            change.changed for change in cancel.requeue(database, SOON, [one.id for one in old])
        ),
        uses("id", "dedup"),
    ),
    "page": Operation(nothing, listed, uses("id")),
    "page of a name that is not there": Operation(
        nothing, partial(listed, names=["nobody's"]), uses("id"), lambda _: False
    ),
    "queues": Operation(nothing, paused, uses()),
    "workers": Operation(nothing, seen, uses()),
    "progress": Operation(
        running,
        lambda database, runs: sum(progress.progress(database, run.fence, b"1") for run in runs),
        uses("id"),
    ),
    "checkpoint": Operation(running, keep, uses("id", "checkpoint")),
    "checkpoint, again": Operation(kept, keep, uses("id", "checkpoint")),
    "checkpoints": Operation(
        kept,
        lambda database, runs: sum(len(progress.checkpoints(database, run.id)) for run in runs),
        uses("checkpoint"),
    ),
}
