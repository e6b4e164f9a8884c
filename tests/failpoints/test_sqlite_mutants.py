"""The failpoints can fail: each fault put into the backend is found."""

import importlib
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import anyio
import pytest

from layered.backend import Pushed
from layered.backends.sqlite import cancel, lane, push, storage, writer
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.job import Job
from layered.backends.sqlite.lane import Lane
from layered.backends.sqlite.writer import Writer
from layered.task import Draft
from tests.failpoints import test_sqlite_cancellation, test_sqlite_faults, test_sqlite_groups
from tests.failpoints.sqlite_bench import OPERATIONS, Bench, whole

Make: TypeAlias = Callable[[], Bench]
Check: TypeAlias = Callable[[Make], Awaitable[object]]


def failing(operation: str, fault: str) -> Check:
    """Have each statement of an operation fail."""
    test = test_sqlite_faults.test_sqlite_operation_is_whole_or_undone_when_a_statement_fails
    return lambda bench: test(bench, operation, fault)


def together(case: str) -> Check:
    """Have the commit of a group fail."""
    test = test_sqlite_groups.test_sqlite_tells_each_of_a_group_what_became_of_its_own_write
    return lambda bench: test(bench, case)


def amid(bench: Make) -> Awaitable[None]:
    """Cancel the caller amid a push."""
    module = test_sqlite_cancellation
    test = module.test_sqlite_operation_is_finished_when_its_caller_is_cancelled_amid_it
    return test(bench, "insert")


def before(bench: Make) -> Awaitable[None]:
    """Cancel the caller before its push is taken."""
    module = test_sqlite_cancellation
    test = module.test_sqlite_operation_has_no_effect_when_its_caller_is_cancelled_before_it
    return test(bench, "insert")


def without_fault(operation: str) -> Check:
    """Do an operation, and look at the rows."""
    return lambda bench: whole(bench(), OPERATIONS[operation])


def keep_the_lock(connection: sqlite3.Connection) -> None:
    """Roll back, or do nothing more."""
    with suppress(sqlite3.Error):
        connection.rollback()


def commit_anyhow(self: Writer, connection: sqlite3.Connection, job: Job[Any]) -> None:
    """Commit, whatever comes of it."""
    self._begin(connection, [job])
    self._attempt(connection, job)
    with suppress(sqlite3.Error):
        connection.execute("COMMIT")


def group_as_one(self: Writer, connection: sqlite3.Connection, jobs: Sequence[Job[Any]]) -> bool:
    """Commit a group without a savepoint for each."""
    self._begin(connection, jobs)
    for job in jobs:
        connection.execute("SAVEPOINT job")
        self._attempt(connection, job)
    connection.execute("COMMIT")
    return True


def group_or_nothing(
    self: Writer, connection: sqlite3.Connection, jobs: Sequence[Job[Any]]
) -> bool:
    """Commit a group, and take a commit that failed for one that did not."""
    self._begin(connection, jobs)
    for job in jobs:
        connection.execute("SAVEPOINT job")
        self._attempt(connection, job)
        if job.error is not None:
            connection.execute("ROLLBACK TO job")
    with suppress(sqlite3.Error):
        connection.execute("COMMIT")
    writer._roll_back(connection)
    return True


def insert_apart(
    connection: sqlite3.Connection, clock: Clock, drafts: Sequence[Draft]
) -> Sequence[Pushed]:
    """Commit each task of a push by itself."""
    pushed: list[Pushed] = []
    for draft in drafts:
        pushed += push.insert(connection, clock, [draft])
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
    return pushed


async def leave_at_once(self: Lane, work: Callable[..., Any], **options: Any) -> Any:
    """Leave the thread alone with the work."""
    job = Job(work, alone=False, durable=True)
    self._queue.put(job)
    await job.done.wait()
    return job.outcome()


async def do_it_anyhow(self: Lane, work: Callable[..., Any], **options: Any) -> Any:
    """Have the work done although the caller has left before it was taken."""
    job = Job(work, alone=False, durable=True)
    self._queue.put(job)
    try:
        await job.done.wait()
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await job.done.wait()
        raise
    return job.outcome()


def forget(self: Lane) -> None:
    """Drop the connection without closing it."""
    self._connection = None


class Mutant(NamedTuple):
    """What stands in for what, and who finds it."""

    owner: Any
    name: str
    fault: object
    check: Check


def text(where: str, part: str, fault: str, check: Check) -> Mutant:
    """Replace a part of a statement."""
    module, _, name = where.partition(".")
    owner = importlib.import_module(f"layered.backends.sqlite.{module}")
    statement: str = getattr(owner, name)
    assert part in statement
    return Mutant(owner, name, statement.replace(part, fault), check)


MUTANTS: Mapping[str, Mutant] = {
    "a transaction is left open": Mutant(
        writer, "_roll_back", lambda _: None, failing("insert", "busy")
    ),
    "a rollback that fails is left": Mutant(
        writer, "_roll_back", keep_the_lock, failing("insert", "busy and stuck")
    ),
    "a failed commit is answered": Mutant(
        Writer, "_commit", commit_anyhow, failing("settle", "busy and undone")
    ),
    "a connection is not closed": Mutant(Lane, "disconnect", forget, failing("renew", "I/O error")),
    "a push is cut in two": Mutant(storage, "insert", insert_apart, without_fault("insert")),
    "a refusal leaves half in a group": Mutant(
        Writer, "_commit_all", group_as_one, together("no fault")
    ),
    "a failed commit of a group is answered": Mutant(
        Writer, "_commit_all", group_or_nothing, together("busy")
    ),
    "a cancelled caller does not wait": Mutant(Lane, "run", leave_at_once, amid),
    "a cancelled caller has an effect": Mutant(Lane, "run", do_it_anyhow, before),
    "memory that runs out ends the thread": Mutant(
        writer, "FAILURES", (sqlite3.Error,), failing("reap", "out of memory")
    ),
    "a connection that cannot be opened ends the thread": Mutant(
        lane, "FAILURES", (), failing("keeper's renew", "busy and undone")
    ),
    "a claim keeps the epoch": text(
        "claim._START", "epoch = epoch + 1", "epoch = epoch", without_fault("claim")
    ),
    "a claim is not charged": text(
        "claim._START", "attempt = attempt + 1", "attempt = attempt + 2", without_fault("claim")
    ),
    "a reaped run is not marked": text(
        "lease._REAP", "settled_claim = claim_id", "settled_claim = NULL", without_fault("reap")
    ),
    "a result is kept of what goes on": text(
        "settle._RETRY", "state = CASE", "result = x'31', state = CASE", without_fault("settle")
    ),
    "an end has no time": text(
        "settle._CANCELLED", "finished_at = ?", "due_at = ?", without_fault("settle")
    ),
    "a push that is refused is stored in part": Mutant(
        storage, "insert", insert_apart, without_fault("insert, refused")
    ),
    "a task is requeued without its key": Mutant(
        cancel, "hold", lambda *_: None, without_fault("requeue")
    ),
    "a task is pushed without its key": Mutant(
        push, "hold", lambda *_: None, without_fault("insert with keys")
    ),
    "a requeued task has ended": text(
        "cancel._REQUEUE", " finished_at = NULL,", "", without_fault("requeue")
    ),
    "what is done is cancelled": text(
        "cancel._CANCEL", "state < 4 OR", "state <> 4 OR", without_fault("cancel")
    ),
    "what waits is asked to stop": text(
        "cancel._CANCEL", "state = iif(state = 4, 4, 7)", "state = state", without_fault("cancel")
    ),
    "a run takes the arguments of a push": text(
        "push._REPLACE", "state = ?", "epoch = epoch + ?", without_fault("insert with keys")
    ),
    "a step is kept anew": text(
        "progress._KEEP",
        "DO NOTHING",
        "DO UPDATE SET value = excluded.value",
        without_fault("checkpoint"),
    ),
    "a key outlives its task": text(
        "prune._FREE", "until <= :now", "until < :now - :now", without_fault("prune")
    ),
    "a step outlives the arguments": text(
        "prune._DROP", "WHERE task IN", "WHERE step = '' AND task IN", without_fault("prune")
    ),
    "a pause is forgotten": text(
        "queues._PAUSE", "excluded.until", "queue.until", without_fault("pause")
    ),
    "a live task is removed": text(
        "prune._DELETE",
        "WHERE seq IN",
        "WHERE seq = 4 OR seq IN",
        without_fault("prune"),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_failpoints_find_a_fault_of_the_backend(
    bench: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The check fails that is named with the fault."""
    owner, attribute, fault, check = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, fault)

    with pytest.raises((AssertionError, ExceptionGroup)):
        await check(bench)
