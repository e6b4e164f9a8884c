"""A full disk, and the cost of claims as the backlog grows."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from layered.backend import Claimant, Pushed
from layered.backends.sqlite import SqliteStorage, connection
from layered.backends.sqlite.claim import claim as claim_in
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.push import insert
from layered.backends.sqlite.read import names
from layered.errors import Full
from layered.task import Draft, Status
from tests.backends.sqlite_storage import claim, done, draft, held, raw, settled_down, writer


async def fill(storage: SqliteStorage[str]) -> None:
    """Leave room for a few pages only."""
    ((pages,),) = await raw(storage, "PRAGMA page_count")
    await raw(storage, f"PRAGMA max_page_count = {pages + 2}")


async def test_sqlite_is_full_and_keeps_what_it_has(tmp_path: Path) -> None:
    """Without room a push is refused as a whole; what was accepted stays, and ends."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await storage.push("before")
        await fill(storage)

        with pytest.raises(Full) as caught:
            await storage.push_many(["x" * 1000] * 100)
        counts = await storage.counts("default")
        (lease,) = await claim(storage)
        await storage.settle([done(lease)])

        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert counts == {"str": {Status.READY: 1}}
        assert await storage.counts("default") == {"str": {Status.DONE: 1}}


async def test_sqlite_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    """The same push succeeds later, without opening anything again."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await fill(storage)
        with pytest.raises(Full):
            await storage.push("x" * 100_000)

        await raw(storage, "PRAGMA max_page_count = 1000000")
        await storage.push("x" * 100_000)

        assert len(await claim(storage)) == 1


async def test_sqlite_fails_only_the_writes_of_a_group_that_do_not_fit(tmp_path: Path) -> None:
    """Where SQLite undoes a shared transaction, those that fit are stored all the same."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await fill(storage)
        big, small = draft(b"x" * 100_000), [draft(b"1"), draft(b"2")]
        answers: list[Pushed] = []
        refused: list[Full] = []

        async def push(one: Draft) -> None:
            try:
                answers.extend(await storage.insert([one]))
            except Full as error:
                refused.append(error)

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            for one in (small[0], big, small[1]):
                tasks.start_soon(push, one)
                await settled_down()
            let_go()

        assert {answer.id for answer in answers} == {one.id for one in small}
        assert len(refused) == 1
        assert await storage.counts("default") == {"str": {Status.READY: 2}}


NOW = 1_700_000_000.0
CLOCK = Clock(lambda: NOW, time.monotonic)
BACKLOGS: dict[str, tuple[str, ...]] = {
    "all due": ("due",),
    "all scheduled": ("scheduled",),
    "all of an unregistered name": ("foreign",),
    "all overdue but not promoted": ("overdue",),
    "all done": ("done",),
    "mixed": ("foreign", "scheduled", "done", "due", "overdue"),
}


def drafts(kind: str, count: int) -> list[Draft]:
    """Make many tasks of one kind."""
    name = "foreign" if kind == "foreign" else "str"
    delay = {"scheduled": 1e6, "overdue": 1.0}.get(kind, 0.0)
    return [draft(name=name, delay=delay + number / 1e3) for number in range(count)]


def steps_of_a_claim(path: Path, kinds: tuple[str, ...], size: int) -> int:
    """Count the steps of SQLite's machine for a claim of 10, in a backlog of *size*."""
    connection.prepare(str(path))
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with closing(connection.connect(str(path))) as database:
        database.execute("BEGIN IMMEDIATE")
        for kind in kinds:
            many = drafts(kind, size // len(kinds))
            insert(database, Clock(lambda: NOW - 100), many)
            if kind == "done":
                database.execute("UPDATE task SET state = 5 WHERE state = 3 AND name = 'str'")
        database.execute("COMMIT")
        names(database, "default")
        database.set_progress_handler(count, 1)
        database.execute("BEGIN IMMEDIATE")
        claim_in(database, CLOCK, Claimant("default", "me"), {"str": 10, "other": 10}, 10)
        names(database, "default")
        database.execute("COMMIT")
        database.set_progress_handler(None, 1)
    return steps


@pytest.mark.parametrize("backlog", BACKLOGS)
def test_sqlite_claims_cost_the_same_in_any_backlog(tmp_path: Path, backlog: str) -> None:
    """A claim of 10 among 20,000 tasks takes the steps of one among 1,000, and few."""
    kinds = BACKLOGS[backlog]

    small = steps_of_a_claim(tmp_path / "small.db", kinds, 1_000)
    large = steps_of_a_claim(tmp_path / "large.db", kinds, 20_000)

    assert large <= small * 1.1 + 20
    assert large < 10_000
