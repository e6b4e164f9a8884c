"""Faults that SQLite itself raises: interrupts amid a statement, and a disk that takes no more."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from layered.errors import BackendBroken, Transient
from tests.failpoints.operations import draft
from tests.failpoints.sqlite_bench import OPERATIONS, READS, Bench, whole
from tests.failpoints.sqlite_wire import OPEN, Run, Wired

PLACES = 30
"""Interrupts of one operation, spread over the steps of SQLite's machine."""


@pytest.fixture
def anyio_backend() -> str:
    """Run on one loop: what fails here is in the thread, and cancellation has its own tests."""
    return "asyncio"


class Interrupt:
    """A hook that interrupts SQLite at this step of its machine, counted over all statements."""

    def __init__(self, step: int = 0) -> None:
        self._step = step
        self.steps = 0

    def __call__(self, connection: Wired, statement: str, run: Run) -> Any:
        """Count on."""
        connection.set_progress_handler(self._tick, 1)
        return run()

    def _tick(self) -> bool:
        self.steps += 1
        return self.steps == self._step


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_sqlite_operation_is_whole_or_undone_when_it_is_interrupted(
    bench: Callable[[], Bench], operation: str
) -> None:
    """At any step of a statement, also where SQLite rolls back by itself."""
    chosen, counted = OPERATIONS[operation], Interrupt()
    _, stages = await whole(bench(), chosen)
    counting = bench()
    async with counting.opened():
        assert await counting.attempt(chosen, counted) == chosen.first
    raised = {Transient, sqlite3.OperationalError} if operation == "settle_in" else {Transient}
    failed = 0

    for step in range(1, counted.steps, max(counted.steps // PLACES, 1)):
        failing = bench()
        async with failing.opened():
            outcome = await failing.attempt(chosen, Interrupt(step))

            assert outcome == chosen.first or type(outcome) in raised, (step, outcome)
            failed += outcome != chosen.first
            await failing.check(chosen, stages)
            await failing.check_all_ends()
    assert (failed == 0) == (operation in READS)


DAMAGE = {
    "fetch": "UPDATE task SET errors = '5' WHERE seq = 1",
    "counts": "UPDATE task SET state = 99 WHERE seq = 1",
}


@pytest.mark.parametrize("read", DAMAGE)
async def test_sqlite_reads_what_is_written_while_an_error_is_kept(
    bench: Callable[[], Bench], read: str
) -> None:
    """An error that somebody keeps holds no old view of the store, nor its log."""
    damaged = bench()
    async with damaged.opened():
        with closing(OPEN(damaged.path, isolation_level=None)) as other:
            other.execute("PRAGMA ignore_check_constraints = ON")
            other.execute(DAMAGE[read])
            with pytest.raises((TypeError, ValueError)) as kept:
                await OPERATIONS[read].run(damaged.storage, damaged.fences)

            await damaged.storage.insert([draft(103, name="late")])

            assert "late" in await damaged.storage.names("default")
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert kept.tb is not None


class FullDisk:
    """A hook that lets a commit write this many bytes, and fails it there."""

    def __init__(self, log: Path, room: int) -> None:
        self._log = log
        self._room = room

    def __call__(self, connection: Wired, statement: str, run: Run) -> Any:
        """Fail a commit that writes more."""
        if statement != "COMMIT":
            return run()
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = self._log.stat().st_size + self._room
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            return run()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITES = [each for each in OPERATIONS if each not in (*READS, "insert, refused")]


@pytest.mark.parametrize("operation", WRITES)
async def test_sqlite_operation_is_undone_when_its_commit_cannot_be_written(
    bench: Callable[[], Bench], operation: str
) -> None:
    """Whatever part of it has reached the log; another process reads nothing of it either."""
    pytest.importorskip("resource", reason="no limit of the size of files there")
    chosen = OPERATIONS[operation]
    _, stages = await whole(bench(), chosen)
    outcome, room = object(), 0

    while outcome != chosen.first:
        failing = bench()
        async with failing.opened():
            outcome = await failing.attempt(chosen, FullDisk(Path(f"{failing.path}-wal"), room))

            assert outcome == chosen.first or type(outcome) is BackendBroken, (room, outcome)
            found = await failing.check(chosen, stages)
            await failing.check_all_ends()
        if outcome != chosen.first and chosen.parts == 1:
            assert found.outline() == stages[0]
        room += 3000
    assert room > 3000
