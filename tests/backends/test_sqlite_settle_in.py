"""`SqliteStorage.settle_in`: a settle and the user's own change commit together or not at all."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from layered.backend import ALREADY, APPLIED, STALE
from layered.backends.sqlite import SqliteStorage
from layered.errors import WrongState
from layered.task import Lease, Status
from tests.backends.sqlite_storage import (
    claim,
    done,
    draft,
    held,
    query,
    raw,
    settled_down,
    writer,
)


async def running(storage: SqliteStorage[Any]) -> Lease:
    """Insert and claim a task, beside a table of the user's own."""
    await raw(storage, "CREATE TABLE IF NOT EXISTS book (title UNIQUE)")
    await storage.insert([draft()])
    (lease,) = await claim(storage)
    return lease


def write(connection: sqlite3.Connection) -> None:
    """Change something of the user's own."""
    connection.execute("INSERT INTO book VALUES ('effect')")


async def found(storage: SqliteStorage[Any], lease: Lease) -> tuple[Status, int]:
    """Answer the task's state and the number of the user's rows."""
    record = await storage.get(lease.id)
    assert record is not None
    return record.status, len(await raw(storage, "SELECT * FROM book"))


async def test_sqlite_settle_in_commits_both(tmp_path: Path) -> None:
    """The effect and the end of the run are stored, and those who wait are told."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)
        told: list[None] = []

        with storage.ended.listening(lambda: told.append(None)):
            answer = await storage.settle_in(write, done(lease))

        assert answer == APPLIED[Status.DONE]
        assert await found(storage, lease) == (Status.DONE, 1)
        assert told


async def test_sqlite_settle_in_raises_what_the_effect_raises(tmp_path: Path) -> None:
    """An error undoes both, and is the same object for the caller, errors of SQLite included."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)
        raised: list[BaseException] = []

        def fail(connection: sqlite3.Connection) -> None:
            write(connection)
            try:
                write(connection)
            except sqlite3.IntegrityError as error:
                raised.append(error)
                raise

        with pytest.raises(sqlite3.IntegrityError) as caught:
            await storage.settle_in(fail, done(lease))

        assert caught.value is raised[0]
        assert await found(storage, lease) == (Status.RUNNING, 0)
        assert await storage.settle_in(write, done(lease)) == APPLIED[Status.DONE]


async def asynchronous(connection: sqlite3.Connection) -> None:
    """Would be an effect of PostgreSQL's."""
    write(connection)


def generator(connection: sqlite3.Connection) -> Iterator[None]:
    """Would be the function of a fixture or a dependency."""
    write(connection)
    yield


@pytest.mark.parametrize("effect", [asynchronous, generator])
async def test_sqlite_settle_in_refuses_what_a_call_does_not_run(
    tmp_path: Path, effect: Callable[[sqlite3.Connection], Any]
) -> None:
    """The run would be done, and its effect nowhere."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)

        with pytest.raises(TypeError, match="must be a plain function"):
            await storage.settle_in(effect, done(lease))

        assert await found(storage, lease) == (Status.RUNNING, 0)
        assert await storage.settle_in(write, done(lease)) == APPLIED[Status.DONE]


async def test_sqlite_settle_in_does_not_run_a_stale_effect(tmp_path: Path) -> None:
    """A worker that lost its task changes nothing."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)
        stale = done(lease)._replace(fence=lease.fence._replace(claim_id=bytes(16)))

        answer = await storage.settle_in(write, stale)

        assert answer == STALE
        assert await found(storage, lease) == (Status.RUNNING, 0)


async def test_sqlite_settle_in_runs_an_effect_once(tmp_path: Path) -> None:
    """Repeating it after an unknown outcome does not repeat the effect."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)
        await storage.settle_in(write, done(lease))

        answer = await storage.settle_in(write, done(lease))

        assert answer == ALREADY[Status.DONE]
        assert await found(storage, lease) == (Status.DONE, 1)


def with_block(connection: sqlite3.Connection) -> None:
    """Use a connection as a context manager, which commits."""
    with connection:
        write(connection)


def swallowed(connection: sqlite3.Connection) -> None:
    """Roll back, and do not tell."""
    write(connection)
    with suppress(sqlite3.Error):
        connection.execute("ROLLBACK")


ENDING: dict[str, Callable[[sqlite3.Connection], object]] = {
    "COMMIT": lambda connection: connection.execute("COMMIT"),
    "END": lambda connection: connection.execute("END"),
    "BEGIN": lambda connection: connection.execute("BEGIN"),
    "ROLLBACK": lambda connection: connection.execute("ROLLBACK"),
    "commit()": lambda connection: connection.commit(),
    "rollback()": lambda connection: connection.rollback(),
    "close()": lambda connection: connection.close(),
    "executescript()": lambda connection: connection.executescript("INSERT INTO book VALUES (1)"),
    "isolation_level": lambda connection: setattr(connection, "isolation_level", ""),
    "with": with_block,
    "swallowed": swallowed,
}


@pytest.mark.parametrize("how", ENDING)
async def test_sqlite_settle_in_refuses_to_end_the_transaction(tmp_path: Path, how: str) -> None:
    """The commit is the storage's: an effect that tries is undone and told, and nothing breaks."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)

        with pytest.raises(WrongState, match="settle_in"):
            await storage.settle_in(lambda connection: void(ENDING[how](connection)), done(lease))

        assert await found(storage, lease) == (Status.RUNNING, 0)
        assert await storage.settle_in(write, done(lease)) == APPLIED[Status.DONE]
        assert await found(storage, lease) == (Status.DONE, 1)


def void(_: object) -> None:
    """Drop a result."""


async def test_sqlite_settle_in_leaves_the_connection_as_it_was(tmp_path: Path) -> None:
    """A row factory that an effect sets does not reach our own statements."""

    def strange(connection: sqlite3.Connection) -> None:
        connection.row_factory = lambda _cursor, _row: "strange"
        connection.text_factory = bytes
        write(connection)

    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        first = await running(storage)
        await storage.insert([draft(metadata={"k": "v"})])
        await storage.settle_in(strange, done(first))

        (lease,) = await claim(storage)

    assert dict(lease.metadata) == {"k": "v"}


async def test_sqlite_settle_in_shares_no_transaction(tmp_path: Path) -> None:
    """An effect that fails takes no other write with it."""

    def fail(_: sqlite3.Connection) -> None:
        raise LookupError("mine")

    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)

        async def expect() -> None:
            with pytest.raises(LookupError):
                await storage.settle_in(fail, done(lease))

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            for work in (storage.push, storage.push):
                tasks.start_soon(work, "x")
            tasks.start_soon(expect)
            tasks.start_soon(storage.push, "y")
            await settled_down()
            let_go()

        assert await storage.counts("default") == {"str": {Status.RUNNING: 1, Status.READY: 3}}


async def test_sqlite_settle_in_begins_when_earlier_writes_are_committed(tmp_path: Path) -> None:
    """What stands in the queue before an effect, effects too, is stored before it, not with it."""
    path = tmp_path / "tasks.db"
    seen: list[tuple[int, int]] = []

    def look(connection: sqlite3.Connection) -> None:
        seen.extend(query(path, "SELECT count(*), (SELECT count(*) FROM book) FROM task"))
        connection.execute("INSERT INTO book VALUES (?)", (len(seen),))

    async with SqliteStorage(path, str) as storage:
        first, second = await running(storage), await running(storage)

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            tasks.start_soon(storage.push, "x")
            await settled_down()
            for lease in (first, second):
                tasks.start_soon(storage.settle_in, look, done(lease))
                await settled_down()
            tasks.start_soon(storage.push, "y")
            await settled_down()
            let_go()

    assert seen == [(3, 0), (3, 1)]


async def test_sqlite_settle_in_survives_an_exit_in_the_effect(tmp_path: Path) -> None:
    """`SystemExit` in an effect is the caller's, and does not end the writer."""

    def leave(_: sqlite3.Connection) -> None:
        raise SystemExit(3)

    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lease = await running(storage)

        with pytest.raises(SystemExit):
            await storage.settle_in(leave, done(lease))

        assert await found(storage, lease) == (Status.RUNNING, 0)
