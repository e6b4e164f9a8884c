"""Writes of several callers in one transaction, and what each is told when its commit fails."""

import sqlite3
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest

from layered.backend import ALREADY, APPLIED, Done, Pushed, Settle, Storage
from layered.errors import BackendBroken, BackendError, Conflict, Fatal, Full, Transient
from layered.task import Dedup, OnConflict, Status
from tests.backends.sqlite_storage import settled_down
from tests.failpoints.invariants import broken, broken_between
from tests.failpoints.operations import Fences, Operation, draft, task
from tests.failpoints.sqlite_bench import Bench, is_unlocked, look
from tests.failpoints.sqlite_wire import (
    Hook,
    Run,
    Wired,
    error,
    lost_after,
    lost_before,
    pass_on,
    refused,
    undone,
)

LARGE = 100_000
"""More bytes than SQLite takes in these tests."""


def push(*numbers: int, **fields: Any) -> Operation:
    """Make the push of these tasks; *fields* are the last one's."""

    async def run(storage: Storage[Any], _: Fences) -> object:
        *firsts, last = numbers
        return await storage.insert([*map(draft, firsts), draft(last, **fields)])

    return Operation(
        run,
        [Pushed(task(number)) for number in numbers],
        [Pushed(task(number), Status.READY) for number in numbers],
    )


async def settle(storage: Storage[Any], fences: Fences) -> object:
    """End a run."""
    return await storage.settle([Settle(fences[task(20)], Done(b"2"), 1)])


GOOD: Mapping[str, Operation] = {
    "first": push(201),
    "settle": Operation(settle, [APPLIED[Status.DONE]], [ALREADY[Status.DONE]]),
    "last": push(202, 203),
}
SAME = push(201)
LEAVING = push(204)
WRONG: Mapping[str, Operation] = {
    "refused": push(205, 206, priority="high"),
    "too large": push(207, 208, payload=b"x" * (LARGE + 1)),
    "rejected": push(210, 211, dedup=Dedup("held", OnConflict.REJECT)),
}
GONE = push(209)
STORED = {task(number) for number in (201, 202, 203, 204)}


class AtCommit:
    """
    A hook that stops at the commit of the first group, and strikes at it, or at all from there.

    Args:
        strike: Stands in for the commit.
        every: Whether also for those that follow.
    """

    def __init__(self, strike: Hook, *, every: bool) -> None:
        self._strike = strike
        self._every = every
        self._grouped = False
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, connection: Wired, statement: str, run: Run) -> Any:
        """Look for the commit of a group."""
        self._grouped = self._grouped or statement == "SAVEPOINT job"
        if statement != "COMMIT" or not self._grouped:
            return run()
        if self.reached.is_set():
            return self._strike(connection, statement, run) if self._every else run()
        self.reached.set()
        self.go_on.wait(10)
        return self._strike(connection, statement, run)


class Company:
    """Callers that write at the same time, and what each was told."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.told: dict[str, object] = {}
        self.scopes: dict[str, anyio.CancelScope] = {}

    async def call(self, name: str, operation: Operation) -> None:
        """Write."""
        with anyio.CancelScope() as self.scopes[name]:
            try:
                self.told[name] = await operation.run(self._bench.storage, self._bench.fences)
            except BackendError as error:
                self.told[name] = error

    async def write(self, hook: AtCommit) -> None:
        """Have all write in one transaction; one goes away before it, one at its commit."""
        callers = {**GOOD, "same": SAME, "leaving": LEAVING, **WRONG, "gone": GONE}
        async with self._bench.held() as let_go, anyio.create_task_group() as tasks:
            for name, operation in callers.items():
                tasks.start_soon(self.call, name, operation)
                await settled_down()
            self.scopes["gone"].cancel()
            await settled_down()
            self._bench.wire.hook = hook
            let_go()
            while not hook.reached.is_set():
                await anyio.lowlevel.checkpoint()
            self.scopes["leaving"].cancel()
            await settled_down()
            hook.go_on.set()
        self._bench.wire.hook = pass_on


def unanswered(connection: Wired, statement: str, run: Run) -> Any:
    """Commit, and say that it failed."""
    run()
    raise error(sqlite3.SQLITE_IOERR_FSYNC)


class Case(NamedTuple):
    """What happens at the commit, what the good are told, and whether all is stored."""

    strike: Hook
    every: bool
    told: type[BackendError] | None
    stored: bool


BUSY, FULL, IO = sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE
CASES = {
    "no fault": Case(pass_on, False, None, True),
    "busy once": Case(refused(BUSY), False, None, True),
    "full once": Case(undone(FULL), False, None, True),
    "I/O error once": Case(undone(IO), False, None, True),
    "busy": Case(refused(BUSY), True, Transient, False),
    "full": Case(undone(FULL), True, Full, False),
    "I/O error": Case(undone(IO), True, BackendBroken, False),
    "connection lost before": Case(lost_before, False, BackendBroken, False),
    "connection lost after": Case(lost_after, False, BackendBroken, True),
    "failure told of a commit that was made": Case(unanswered, False, None, True),
}


@pytest.mark.parametrize("name", CASES)
async def test_sqlite_tells_each_of_a_group_what_became_of_its_own_write(
    bench: Callable[[], Bench], name: str
) -> None:
    """One refusal, one cancellation or one failed commit is nobody else's; none is half stored."""
    case, made = CASES[name], bench()
    async with made.opened():
        await made.limit(LARGE)
        company = Company(made)

        await company.write(AtCommit(case.strike, every=case.every))

        found = look(made.path)
        assert broken(found.store) == []
        assert broken_between(made.before.store, found.store) == []
        assert found.rows.keys() - made.before.rows.keys() == (STORED if case.stored else set())
        assert is_unlocked(made.path)
        for caller, operation in {**GOOD, "same": SAME}.items():
            repeated = case.strike is unanswered or caller == "same"
            wanted = operation.again if repeated else operation.first
            told = company.told[caller]
            assert type(told) is case.told if case.told else told == wanted, caller
        for operation in GOOD.values():
            answer = await operation.run(made.storage, made.fences)
            assert answer == (operation.again if case.stored else operation.first)
        assert {type(company.told[caller]) for caller in WRONG} <= {Fatal, Conflict, case.told}
        assert company.told.keys() == {*GOOD, "same", *WRONG}
        await made.check_all_ends()
