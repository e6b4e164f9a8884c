"""Control of SQLite: what several processes of a file do to each other, and what lies in it."""

import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from layered.backend import (
    Beat,
    Change,
    Failure,
    Filter,
    Limits,
    Pushed,
    Renew,
    Renewal,
    Retry,
    Settle,
)
from layered.backends.sqlite import SqliteStorage, read
from layered.errors import Conflict
from layered.task import Dedup, OnConflict, Status
from tests.backends.sqlite_storage import (
    ME,
    claim,
    done,
    draft,
    held,
    query,
    raw,
    run_together,
    settled_down,
    writer,
)

PUSH = """
import sys, anyio
from layered.backends.sqlite import SqliteStorage
from layered.errors import Conflict
from layered.task import Dedup, OnConflict
async def main():
    sys.stdin.readline()
    async with SqliteStorage(sys.argv[1], str) as storage:
        for number in range(20):
            dedup = Dedup(str(number), OnConflict.{on_conflict})
            try:
                pushed = await storage.push("x", dedup=dedup)
            except Conflict:
                print(number, "refused")
            else:
                print(number, pushed.duplicate is None and "stored" or pushed.id)
anyio.run(main)
"""
CANCEL = """
import sys, anyio
from layered.backend import Filter
from layered.backends.sqlite import SqliteStorage
async def main():
    sys.stdin.readline()
    async with SqliteStorage(sys.argv[1], str) as storage:
        page = await storage.page(Filter(), None, 10)
        for change in await storage.cancel([task.id for task in page.tasks]):
            print(change.id, change.status.label, change.changed)
anyio.run(main)
"""


def test_sqlite_gives_a_key_to_one_of_several_processes(tmp_path: Path) -> None:
    """Of those that push with the same key at the same time; the others get its id."""
    path = tmp_path / "tasks.db"

    lines = run_together(PUSH.format(on_conflict="KEEP"), path, 4)

    told = [line.split() for line in lines]
    assert Counter(number for number, what in told if what == "stored") == dict.fromkeys(
        map(str, range(20)), 1
    )
    held_by = dict(query(path, "SELECT dedup_key, id FROM task"))
    assert len(held_by) == 20
    assert {(number, what) for number, what in told if what != "stored"} == set(held_by.items())


def test_sqlite_refuses_a_key_to_all_processes_but_one(tmp_path: Path) -> None:
    """Of those that push with the same key at the same time; the others store nothing."""
    path = tmp_path / "tasks.db"

    lines = run_together(PUSH.format(on_conflict="REJECT"), path, 4)

    assert Counter(line.split()[1] for line in lines) == {"stored": 20, "refused": 60}
    assert query(path, "SELECT count(*), count(DISTINCT dedup_key) FROM task") == [(20, 20)]


async def test_sqlite_cancels_a_run_of_another_process(tmp_path: Path) -> None:
    """Its next renewal tells, that of the keeper's own connection, too; a failure ends it."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str) as storage:
        await storage.insert([draft(), draft()])
        runs = (await storage.claim(ME, {"str": 1}, 1)).leases

        lines = await anyio.to_thread.run_sync(run_together, CANCEL, path, 1)

        async with storage.keeper() as keeper:
            renewals = [
                *await storage.renew([Renew(run.fence, 1) for run in runs], 30.0),
                *await keeper.renew([Renew(run.fence, 1) for run in runs], 30.0),
            ]
        await storage.settle([Settle(runs[0].fence, Retry(Failure("E", "no"), 0.0), 1)])
        counts = await storage.counts("default")
    assert sorted(line.split(maxsplit=1)[1] for line in lines) == [
        "cancelled True",
        "running True",
    ]
    assert renewals == [Renewal.CANCEL] * 2
    assert counts == {"str": {Status.CANCELLED: 2}}


async def test_sqlite_pauses_a_queue_for_all_storages_of_a_file(tmp_path: Path) -> None:
    """One that was open before knows it at its next claim, and so does one that is opened later."""
    path = tmp_path / "tasks.db"
    until = datetime.now(UTC) + timedelta(hours=1)
    async with SqliteStorage(path, str) as one, SqliteStorage(path, str) as two:
        await two.insert([draft()])
        await one.pause("default", until)
        paused = await two.claim(ME, {"str": 1}, 1)
        async with SqliteStorage(path, str) as three:
            assert await claim(three) == []
            queues = await three.queues()
        await one.resume("default")

        assert len(await claim(two)) == 1
    assert (paused.leases, paused.more) == ([], False)
    assert paused.next_due_in is not None
    assert 3500 < paused.next_due_in <= 3600
    assert queues == [("default", True, until)]


async def test_sqlite_knows_the_queues_that_a_storage_was_opened_for(tmp_path: Path) -> None:
    """Each once, in every process; what was paused stays so when it is opened again."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str, queue="b") as storage:
        await storage.pause("b", None)
        await storage.pause("c", None)
        await storage.resume("c")
    async with SqliteStorage(path, str, queue="a"), SqliteStorage(path, str, queue="b") as storage:
        queues = await storage.queues()

    assert queues == [("a", False, None), ("b", True, None), ("c", False, None)]


async def test_sqlite_rejects_one_push_of_a_group_alone(tmp_path: Path) -> None:
    """All of it; those that are committed with it are stored."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        taken = draft(dedup=Dedup("key"))
        await storage.insert([taken])
        refused: list[str] = []

        async def reject() -> None:
            late = draft(dedup=Dedup("key", OnConflict.REJECT))
            other = draft(dedup=Dedup("other", OnConflict.REJECT))
            with pytest.raises(Conflict) as caught:
                await storage.insert([draft(), other, late])
            refused.append(str(caught.value))

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            tasks.start_soon(storage.push, "x")
            tasks.start_soon(reject)
            tasks.start_soon(storage.push, "y")
            await settled_down()
            let_go()

        assert await storage.counts("default") == {"str": {Status.READY: 3}}
        assert await storage.holder("default", "other") is None
    (message,) = refused
    assert f"task {taken.id} (ready) holds its dedup key 'key'" in message


async def test_sqlite_answers_a_repeated_push_by_its_id(tmp_path: Path) -> None:
    """Its own task is no conflict, nor is one that has taken the key over since."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        one, two = (draft(dedup=Dedup("key", OnConflict.REJECT)) for _ in range(2))
        await storage.insert([one])
        again = await storage.insert([one])
        await storage.settle([done(lease) for lease in await claim(storage)])
        await storage.insert([two])

        late = await storage.insert([one])

    assert again == [Pushed(one.id, Status.READY)]
    assert late == [Pushed(one.id, Status.DONE)]


@pytest.mark.parametrize(
    ("statement", "holder"),
    [
        ("DELETE FROM task", None),
        ("UPDATE dedup SET task = 'nobody'", None),
        ("DELETE FROM dedup", None),
        ("UPDATE task SET dedup_key = NULL", "kept"),
    ],
)
async def test_sqlite_takes_a_key_whose_records_were_changed_by_hand(
    tmp_path: Path, statement: str, holder: str | None
) -> None:
    """A key of nobody is free, whatever its window; who holds one goes by the keys alone."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        old, new = (draft(dedup=Dedup("key", window=1000.0)) for _ in range(2))
        await storage.insert([old])
        await raw(storage, statement)

        found = await storage.holder("default", "key")
        (pushed,) = await storage.insert([new])

    assert found == (old.id if holder else None)
    assert pushed == (Pushed(old.id, Status.READY) if holder else Pushed(new.id))


REFUSED = {
    "pause until what is no instant": "INSERT INTO queue VALUES ('q', 1, 253402300800000000)",
    "pause that is neither": "INSERT INTO queue VALUES ('q', 2, NULL)",
    "pause until text": "INSERT INTO queue VALUES ('q', 1, 'tomorrow')",
    "queue without a name": "INSERT INTO queue VALUES (NULL, 0, NULL)",
    "sign of life at no instant": (
        "INSERT INTO worker VALUES ('me', 'q', x'00', 1, 253402300800000000)"
    ),
    "sign of life that is text": "INSERT INTO worker VALUES ('me', 'q', 'text', 1, 1)",
    "checkpoint of nothing": "INSERT INTO checkpoint VALUES ('id', 'step', NULL)",
    "window that is text": "INSERT INTO dedup VALUES ('q', 'key', 'id', 'now')",
    "request that is text": "UPDATE task SET cancel_requested = 'yes'",
    "no arguments of what is live": "UPDATE task SET payload = NULL",
}


@pytest.mark.parametrize("what", REFUSED)
async def test_sqlite_refuses_what_no_program_could_read(tmp_path: Path, what: str) -> None:
    """Whoever writes it by hand."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str) as storage:
        await storage.push("x")

    with pytest.raises(sqlite3.IntegrityError):
        query(path, REFUSED[what])


async def heard(storage: SqliteStorage[Any], operation: str, *args: Any) -> set[str]:
    """Do an operation; answer the hints that it gave."""
    hints: set[str] = set()
    with (
        storage.pushed.listening(lambda: hints.add("pushed")),
        storage.ended.listening(lambda: hints.add("ended")),
    ):
        await getattr(storage, operation)(*args)
    return hints


async def test_sqlite_gives_hints_of_what_it_was_told_to_do(tmp_path: Path) -> None:
    """To those who wait for tasks or for ends; none where nothing changed."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        running, waiting = draft(), draft()
        await storage.insert([running])
        await claim(storage)
        await storage.insert([waiting])

        assert await heard(storage, "cancel", [running.id]) == set()
        assert await heard(storage, "cancel", [waiting.id]) == {"ended"}
        assert await heard(storage, "cancel", [waiting.id]) == set()
        assert await heard(storage, "requeue", [waiting.id]) == {"pushed"}
        assert await heard(storage, "requeue", [waiting.id]) == set()
        assert await heard(storage, "pause", "default", None) == set()
        assert await heard(storage, "resume", "default") == {"pushed"}


async def test_sqlite_leaves_nothing_of_a_task_that_is_gone(tmp_path: Path) -> None:
    """Neither its key nor its checkpoints; a key that another has taken stays."""
    time = [1_000_000.0]
    limits = Limits(keep_done=100.0, tombstone=1000.0)
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str, limits=limits, now=lambda: time[0]) as storage:
        first, second = (draft(dedup=Dedup(key)) for key in ("free", "taken"))
        await storage.insert([first, second])
        leases = await claim(storage)
        for lease in leases:
            await storage.checkpoint(lease.fence, "step", b"value")
        await storage.settle([done(lease) for lease in leases])
        other = draft(dedup=Dedup("taken"), delay=1e6)
        await storage.insert([other])
        time[0] += 200

        pruned = await storage.prune(10)
        keys = await raw(storage, "SELECT key, task FROM dedup")
        steps = await raw(storage, "SELECT count(*) FROM checkpoint")

    assert pruned == 2
    assert keys == [("taken", other.id)]
    assert steps == [(0,)]


async def test_sqlite_keeps_a_tombstone_while_its_window_is_open(tmp_path: Path) -> None:
    """Who pushes with the key is told the state; then both go."""
    time = [1_000_000.0]
    limits = Limits(keep_done=100.0, tombstone=0.0)
    async with SqliteStorage(
        tmp_path / "tasks.db", str, limits=limits, now=lambda: time[0]
    ) as storage:
        one = draft(dedup=Dedup("key", window=1000.0))
        await storage.insert([one])
        await storage.settle([done(lease) for lease in await claim(storage)])
        time[0] += 500

        pruned = [await storage.prune(10), await storage.prune(10)]
        (pushed,) = await storage.insert([draft(dedup=Dedup("key"))])
        time[0] += 500
        pruned.append(await storage.prune(10))
        left = await raw(storage, "SELECT (SELECT count(*) FROM task), count(*) FROM dedup")

    assert pushed == Pushed(one.id, Status.DONE)
    assert pruned == [1, 0, 1]
    assert left == [(0, 0)]


async def test_sqlite_forgets_workers_after_a_day(tmp_path: Path) -> None:
    """Those that said goodbye at once; one is alive until it has missed three beats."""
    time = [1_000_000.0]
    async with SqliteStorage(tmp_path / "tasks.db", str, now=lambda: time[0]) as storage:
        for owner in ("a", "b", "c"):
            await storage.beat(Beat(owner, "default", b"{}", 10.0))
        await storage.leave("b")
        alive = []
        for passed in (29.9, 0.2, 24 * 3600 - 31.0):
            time[0] += passed
            await storage.prune(10)
            alive.append({worker.owner: worker.alive for worker in await storage.workers()})
        await storage.beat(Beat("c", "other", b"[]", 10.0))
        time[0] += 1.0
        await storage.prune(10)
        (last,) = await storage.workers()

    assert alive == [{"a": True, "c": True}, {"a": False, "c": False}, {"a": False, "c": False}]
    assert (last.owner, last.queue, last.about) == ("c", "other", b"[]")
    assert last.seen_at.timestamp() == time[0] - 1.0


async def test_sqlite_page_looks_at_so_many_rows_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be empty and not the last; all that is wanted comes in the end, once."""
    monkeypatch.setattr(read, "SCANNED", 4)
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        drafts = [draft(id=f"{number:02}", name="ab"[number in (3, 9)]) for number in range(12)]
        await storage.insert(drafts)
        pages: list[tuple[list[str], str | None]] = []
        after = None
        while not pages or after is not None:
            tasks, after = await storage.page(Filter(names=["b"]), after, 1)
            pages.append(([task.id for task in tasks], after))

        assert pages == [(["09"], "08"), ([], "04"), (["03"], "00"), ([], None)]
        tasks, after = await storage.page(Filter(), None, 6)
        assert ([task.id for task in tasks], after) == (["11", "10", "09", "08", "07", "06"], "06")


async def test_sqlite_requeues_one_task_of_a_key(tmp_path: Path) -> None:
    """The first of two that had it; the other is told who holds it now."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        one, two = (draft(dedup=Dedup("key")) for _ in range(2))
        for each in (one, two):
            await storage.insert([each])
            await storage.cancel([each.id])

        changes = await storage.requeue([one.id, two.id])

        assert await storage.holder("default", "key") == one.id
    assert changes == [
        Change(one.id, Status.READY, changed=True),
        Change(two.id, Status.CANCELLED, changed=False, holder=one.id),
    ]


async def test_sqlite_tells_no_pause_that_is_over(tmp_path: Path) -> None:
    """By the storage's clock: the queue is claimed from again, without anybody resuming it."""
    time = [1_000_000.0]
    async with SqliteStorage(tmp_path / "tasks.db", str, now=lambda: time[0]) as storage:
        await storage.pause("default", datetime.fromtimestamp(time[0] + 5.0, UTC))
        before = await storage.queues()
        time[0] += 5.0

        after = await storage.queues()

    assert [queue.paused for queue in (*before, *after)] == [True, False]
    assert after == [("default", False, None)]


async def test_sqlite_tells_a_step_to_its_own_run_only(tmp_path: Path) -> None:
    """Neither to one of another epoch nor to one of another claim, whatever is kept."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await storage.insert([draft()])
        (lease,) = await claim(storage)
        await storage.checkpoint(lease.fence, "step", b"1")
        others = (lease.fence._replace(epoch=2), lease.fence._replace(claim_id=b"other"))

        answers = [await storage.checkpoint(fence, "step", b"2") for fence in others]

        assert answers == [None, None]
        assert await storage.checkpoint(lease.fence, "step", b"2") == b"1"


async def test_sqlite_replaces_an_expiry(tmp_path: Path) -> None:
    """A task that was replaced starts as long as the last push says."""
    time = [1_000_000.0]
    limits = [datetime.fromtimestamp(time[0] + more, UTC) for more in (5.0, 10.0)]
    async with SqliteStorage(tmp_path / "tasks.db", str, now=lambda: time[0]) as storage:
        for limit in limits:
            again = Dedup("key", OnConflict.REPLACE)
            await storage.insert([draft(dedup=again, expires_at=limit)])
        time[0] += 7.0
        swept = [await storage.prune(10)]
        time[0] += 7.0
        swept.append(await storage.prune(10))

    assert swept == [0, 1]
