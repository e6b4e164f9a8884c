"""A prepared SQLite storage on a wire, what an operation may leave in it, and what it may not."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from layered.backend import ALREADY, APPLIED, Done, Settle, Storage
from layered.backends.sqlite import SqliteStorage, clock as clocks
from layered.errors import BackendError
from layered.task import Status
from tests.backends.sqlite_storage import held, writer
from tests.failpoints.control_operations import CONTROL
from tests.failpoints.invariants import (
    COLUMNS,
    Row,
    Rows,
    Store,
    broken,
    broken_between,
    outline,
)
from tests.failpoints.operations import (
    KINDS,
    LIMITS,
    OPERATIONS as ALL,
    Clock,
    Fences,
    Operation,
    drain,
    prepare,
    task,
)
from tests.failpoints.sqlite_wire import OPEN, Hook, Run, Wire, Wired, pass_on


async def settle_in(storage: Storage[Any], fences: Fences) -> object:
    """Settle, with a change of the user's own."""
    assert isinstance(storage, SqliteStorage)
    return await storage.settle_in(write_book, Settle(fences[task(20)], Done(b"2"), 1))


def write_book(connection: sqlite3.Connection) -> None:
    """Change something of the user's own; not over the wire: what fails there is the user's."""
    sqlite3.Connection.execute(connection, "INSERT INTO book VALUES ('effect')")


OPERATIONS = {
    **ALL,
    **CONTROL,
    "settle_in": Operation(settle_in, APPLIED[Status.DONE], ALREADY[Status.DONE]),
}

READS = (
    "fetch",
    "page",
    "queues",
    "workers",
    "checkpoints",
    "holder",
    "counts",
    "names",
    "check",
)
"""Operations of the reader, which tries again where an interrupt was meant for another."""


class Seen(NamedTuple):
    """All that a file holds: the tasks, what is kept of them, and all other rows by table."""

    store: Store
    others: Mapping[str, Sequence[object]]

    @property
    def rows(self) -> Rows:
        """The tasks."""
        return self.store.rows

    def outline(self) -> object:
        """Leave out what chance decides."""
        return outline(self.rows), self.store.keys, self.store.steps, self.others


TABLES = {
    "task": COLUMNS,
    "dedup": "queue, key, task, until",
    "checkpoint": "task, step, value",
    "queue": "*",
    "worker": "*",
    "book": "*",
}


def look(path: Path) -> Seen:
    """Read all, over a connection of one's own."""
    with closing(OPEN(path, isolation_level=None)) as connection:
        read = {
            table: connection.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - no input
            for table, columns in TABLES.items()
        }
    rows = [Row(*row) for row in read.pop("task")]
    found = {row.id: row for row in rows}
    assert len(found) == len(rows)
    keys = {(queue, key): id_ for queue, key, id_, _ in read["dedup"]}
    steps = {(id_, step): value for id_, step, value in read.pop("checkpoint")}
    return Seen(Store(found, keys, steps), read)


def is_unlocked(path: Path) -> bool:
    """Lock over another connection, which waits for nobody; answer whether it could."""
    with closing(OPEN(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
    return True


def files_open(path: Path) -> list[str]:
    """List the descriptors that this process has on a database; where there is no list, none."""
    listed = Path("/proc/self/fd")
    found = []
    for each in listed.iterdir() if listed.exists() else ():
        try:
            found.append(str(each.readlink()))
        except FileNotFoundError:  # that of the list itself
            continue
    return sorted(name for name in found if name.startswith(str(path)))


def threads_of(path: Path) -> list[threading.Thread]:
    """List the threads of the storages of a file."""
    return [thread for thread in threading.enumerate() if str(path) in thread.name]


def check_closed(path: Path, wire: Wire) -> None:
    """Find no thread, connection or descriptor left."""
    for thread in threads_of(path):
        thread.join(10)
    assert threads_of(path) == []
    assert wire.open == set()
    assert files_open(path) == []


@attrs.frozen(eq=False)
class Prepared:
    """A file with the tasks of `prepare`, to be copied."""

    path: Path
    at: float
    fences: Fences

    def copy(self, path: Path, wire: Wire) -> Bench:
        """Make a bench of a copy of it."""
        shutil.copy(self.path, path)
        return Bench(path, wire, self)


async def prepared(path: Path) -> Prepared:
    """Make the file."""
    clock = Clock()
    storage: SqliteStorage[Any] = SqliteStorage(path, KINDS, limits=LIMITS, now=clock)
    async with storage:
        storage._clock = clocks.Clock(clock, clock)
        fences = await prepare(storage, clock)
    with closing(OPEN(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE book (title)")
    return Prepared(path, clock.at, fences)


class Bench:
    """A storage of a file of its own, on a wire; `storage` is open inside `opened`."""

    def __init__(self, path: Path, wire: Wire, template: Prepared) -> None:
        self.path = path
        self.wire = wire
        self.fences = template.fences
        self.clock = Clock()
        self.clock.at = template.at
        self.storage: SqliteStorage[Any] = SqliteStorage(path, KINDS, limits=LIMITS, now=self.clock)
        self.storage._clock = clocks.Clock(self.clock, self.clock)
        self.before = look(path)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open the storage; when it is closed nothing of it may be left."""
        async with self.storage:
            yield
        check_closed(self.path, self.wire)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Callable[[], None]]:
        """Keep both threads of the storage busy; gives the function that lets the writer go on."""
        reader = self.storage._reader
        assert reader is not None
        async with held(writer(self.storage)) as let_go, held(reader):
            yield let_go

    async def limit(self, length: int) -> None:
        """Have SQLite take no more bytes in one value."""
        await writer(self.storage).run(
            lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, length)
        )

    async def attempt(self, operation: Operation, hook: Hook) -> object:
        """Do an operation with a fault; answer what it raises."""
        self.wire.hook = hook
        try:
            return await operation.run(self.storage, self.fences)
        except (BackendError, sqlite3.Error) as error:
            return error
        finally:
            self.wire.hook = pass_on

    async def check(self, operation: Operation, stages: Sequence[object]) -> Seen:
        """
        Find no half state, no lock that is held, and a storage that can be used.

        Args:
            operation: What was tried; it is done again here.
            stages: What the store holds after each commit of it, the first of them before it.

        Returns:
            What was stored by the first try.
        """
        found = look(self.path)
        assert broken(found.store) == []
        assert broken_between(self.before.store, found.store) == []
        assert found.outline() in stages
        assert is_unlocked(self.path)

        answer = await operation.run(self.storage, self.fences)

        assert len(self.wire.open) == 2  # the writer's and the reader's
        assert look(self.path).outline() == stages[-1]
        if found.outline() == stages[0]:
            assert answer == operation.first
        elif found.outline() == stages[-1]:
            assert answer == operation.again
        return found

    async def check_all_ends(self) -> None:
        """See every lease end, and every task be run to its end, under a new epoch if it ran."""
        stores = [look(self.path).store]
        async for _ in drain(self.storage, self.clock):
            stores.append(look(self.path).store)
            assert broken(stores[-1]) == []
            assert broken_between(*stores[-2:]) == []
        _, reaped, claimed, ended = (store.rows for store in stores)
        assert [row for row in reaped.values() if row.state == Status.RUNNING] == []
        assert [row for row in ended.values() if row.state < Status.DONE] == []
        for id_, row in claimed.items():
            if row.state == Status.RUNNING:
                assert row.epoch == reaped[id_].epoch + 1


class Whole(NamedTuple):
    """An operation without a fault: its statements, and what the store held at each commit."""

    statements: Sequence[str]
    stages: Sequence[object]


async def whole(bench: Bench, operation: Operation) -> Whole:
    """Do an operation without a fault, and look on."""
    statements: list[str] = []
    stages = [bench.before.outline()]

    def note(connection: Wired, statement: str, run: Run) -> Any:
        statements.append(statement)
        result = run()
        if statement == "COMMIT" and (seen := look(bench.path).outline()) != stages[-1]:
            stages.append(seen)
        return result

    async with bench.opened():
        assert await bench.attempt(operation, note) == operation.first
        await bench.check(operation, stages)
        await bench.check_all_ends()
    assert len(stages) <= 1 + operation.parts
    return Whole(statements, stages)
