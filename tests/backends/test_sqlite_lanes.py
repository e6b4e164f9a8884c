"""The threads of an SQLite storage: groups, cancellation, closing, breaking."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from layered.backend import Claimant, Renew, Renewal
from layered.backends.sqlite import SqliteStorage, connection
from layered.backends.sqlite.clock import Clock
from layered.errors import BackendBroken, BackendClosed, LayeredError
from layered.service.clock import loop_poster
from layered.task import Status
from tests.backends.sqlite_storage import (
    claim,
    done,
    draft,
    held,
    raw,
    settled_down,
    writer,
)

ZERO = Claimant("default", "me", lease=0.0)
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


async def test_sqlite_commits_concurrent_writes_together(tmp_path: Path) -> None:
    """What arrives during a flush is committed by the next one, all of it."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        seen: list[str] = []
        await writer(storage).run(lambda connection: connection.set_trace_callback(seen.append))

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(storage.push, str(number))
            await settled_down()
            seen.clear()
            let_go()
        await writer(storage).run(lambda connection: connection.set_trace_callback(None))

        assert len(await claim(storage, 100)) == 20
    inserts = [at for at, statement in enumerate(seen) if statement.startswith("INSERT")]
    assert len(inserts) == 20
    assert "COMMIT" not in seen[inserts[0] : inserts[-1]]


async def test_sqlite_refuses_one_write_of_a_group_alone(tmp_path: Path) -> None:
    """An error undoes its own part and nothing else."""

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE task SET name = 'spoiled'")
        raise LookupError("mine")

    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        errors: list[Exception] = []

        async def fail() -> None:
            with pytest.raises(LookupError) as caught:
                await writer(storage).run(half)
            errors.append(caught.value)

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            tasks.start_soon(storage.push, "x")
            tasks.start_soon(fail)
            tasks.start_soon(storage.push, "y")
            await settled_down()
            let_go()

        assert await storage.counts("default") == {"str": {Status.READY: 2}}
    assert [str(error) for error in errors] == ["mine"]


async def test_sqlite_drops_a_write_that_is_cancelled_in_the_queue(tmp_path: Path) -> None:
    """A caller that goes away before the thread took its write leaves nothing behind."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            with anyio.move_on_after(0):
                await storage.push("dropped")
            tasks.start_soon(storage.push, "kept")
            await settled_down()
            let_go()

        leases = await claim(storage)

    assert [lease.payload for lease in leases] == [b'"kept"']


async def test_sqlite_finishes_a_write_that_has_begun(tmp_path: Path) -> None:
    """A caller that is cancelled later goes on when the write has been committed."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        release, ended, begun = threading.Event(), anyio.Event(), anyio.Event()
        post = loop_poster()

        def slow(connection: sqlite3.Connection) -> None:
            post(begun.set)
            release.wait(10)
            connection.execute("UPDATE task SET name = 'slow'")

        async def write() -> None:
            try:
                await writer(storage).run(slow)
            finally:
                ended.set()

        await storage.push("x")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await begun.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await settled_down()
                assert not ended.is_set()
                release.set()
                await ended.wait()
                found = await storage.counts("default")

    assert found == {"slow": {Status.READY: 1}}


async def test_sqlite_claims_stand_when_the_claimer_is_cancelled_late(tmp_path: Path) -> None:
    """A claim that was committed for a caller that is gone ends by its lease."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        (pushed,) = await storage.insert([draft()])
        begun, gate, post = anyio.Event(), threading.Event(), loop_poster()

        def now() -> float:
            post(begun.set)
            gate.wait(10)
            return 2e9

        storage._clock = Clock(now)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(claim, storage)
            await begun.wait()
            tasks.cancel_scope.cancel()
            gate.set()

        record = await storage.get(pushed.id)

    assert record is not None
    assert (record.status, record.epoch) == (Status.RUNNING, 1)


async def test_sqlite_closes_after_what_it_accepted(tmp_path: Path) -> None:
    """Writes that were handed over are finished, later ones are refused, none hangs."""
    path = tmp_path / "tasks.db"
    storage = SqliteStorage(path, str)
    await storage.__aenter__()
    late: list[BaseException] = []

    async def push_late() -> None:
        with pytest.raises(BackendClosed) as caught:
            await storage.push("late")
        late.append(caught.value)

    async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
        tasks.start_soon(storage.push, "accepted")
        await settled_down()
        tasks.start_soon(storage.__aexit__, None, None, None)
        while not writer(storage)._closing:
            await anyio.lowlevel.checkpoint()
        await push_late()
        let_go()

    async with SqliteStorage(path, str) as again:
        assert [lease.payload for lease in await claim(again)] == [b'"accepted"']
    assert len(late) == 1


async def test_sqlite_fails_all_callers_when_its_thread_dies(tmp_path: Path) -> None:
    """Nobody waits for a dead thread, now or later."""

    def die(_: sqlite3.Connection) -> None:
        raise SystemExit(3)

    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        failed: list[BackendBroken] = []

        async def expect(work: Any) -> None:
            with pytest.raises(BackendBroken) as caught:
                await writer(storage).run(work)
            failed.append(caught.value)

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            tasks.start_soon(expect, die)
            tasks.start_soon(expect, str)
            await settled_down()
            let_go()
        await expect(str)

    assert len(failed) == 3
    assert all(isinstance(error.__cause__, SystemExit) for error in failed)


async def test_sqlite_opens_another_connection_when_one_breaks(tmp_path: Path) -> None:
    """A connection that is gone fails its callers once; the next write has a new one."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await writer(storage).run(lambda connection: connection.execute("SELECT 1"))

        def lose(connection: sqlite3.Connection) -> None:
            connection.close()
            connection.execute("SELECT 1")

        with pytest.raises(BackendBroken):
            await writer(storage).run(lose)
        await storage.push("x")

        assert len(await claim(storage)) == 1


async def test_sqlite_interrupts_a_read_that_nobody_waits_for(tmp_path: Path) -> None:
    """A long read holds up no write, and ends with its caller."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        reader = storage._reader
        assert reader is not None

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run, lambda connection: connection.execute(ENDLESS).fetchall())
            await storage.push("x")
            (lease,) = await claim(storage)
            await storage.settle([done(lease)])
            tasks.cancel_scope.cancel()
        record = await storage.get(lease.id)

    assert record is not None
    assert record.status is Status.DONE


async def test_sqlite_reads_again_when_an_interrupt_hits_the_wrong_read(tmp_path: Path) -> None:
    """An interrupt that comes late does not fail the next caller."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        reader = storage._reader
        assert reader is not None
        tries: list[None] = []

        def interrupted(connection: sqlite3.Connection) -> int:
            tries.append(None)
            if len(tries) == 1:
                connection.set_progress_handler(lambda: True, 1)
            try:
                return len(connection.execute("SELECT * FROM task").fetchall())
            finally:
                connection.set_progress_handler(None, 1)

        assert await reader.run(interrupted) == 0
    assert len(tries) == 2


async def test_sqlite_serves_several_event_loops(tmp_path: Path) -> None:
    """A storage may be used from loops in other threads, of either kind, at once."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:

        async def push() -> None:
            for _ in range(10):
                await storage.push("x")

        async def in_thread(loop: str) -> None:
            await anyio.to_thread.run_sync(lambda: anyio.run(push, backend=loop))

        async with anyio.create_task_group() as tasks:
            for loop in ("asyncio", "trio"):
                tasks.start_soon(in_thread, loop)
            tasks.start_soon(push)

        assert len(await claim(storage, 100)) == 30


async def test_sqlite_outlives_a_loop_that_ends_while_it_waits(tmp_path: Path) -> None:
    """An answer for a loop that is gone is dropped, and the thread goes on."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:

        async def leave() -> None:
            lane = writer(storage)
            lane._queue.put(_orphan())

        await anyio.to_thread.run_sync(lambda: anyio.run(leave))

        await storage.push("x")
        assert len(await claim(storage)) == 1


def _orphan() -> Any:
    from layered.backends.sqlite.job import Job

    release = threading.Event()
    release.set()
    return Job(lambda _: release.wait(10), alone=False, durable=False)


async def test_sqlite_refuses_a_storage_from_before_a_fork(tmp_path: Path) -> None:
    """A forked process has no thread to serve it; it is told so and does not hang."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        lane = writer(storage)
        lane._pid -= 1

        with pytest.raises(BackendClosed, match="forked"):
            await storage.push("x")
        lane._pid += 1


async def test_sqlite_keeper_renews_while_the_loop_is_blocked(tmp_path: Path) -> None:
    """Leases survive a handler that blocks the event loop."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await storage.insert([draft()])
        leases = (await storage.claim(ZERO, {"str": 1}, 1)).leases
        renewed: list[Renewal] = []

        async def keep() -> None:
            async with storage.keeper() as keeper:
                renewed.extend(await keeper.renew([Renew(leases[0].fence, 1)], 30.0))

        thread = threading.Thread(target=anyio.run, args=(keep,))
        thread.start()
        thread.join()  # blocks this loop

        assert renewed == [Renewal.OK]
        assert list(await storage.reap(10)) == []


async def test_sqlite_reader_refuses_to_write(tmp_path: Path) -> None:
    """Only the writer's thread writes."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        reader = storage._reader
        assert reader is not None

        with pytest.raises(LayeredError):
            await reader.run(lambda connection: connection.execute("DELETE FROM task"))


async def test_sqlite_waits_for_the_disk_where_it_must(tmp_path: Path) -> None:
    """Pushes and settles are synced; claims are not, and what follows them is again."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:

        async def mode() -> int:
            return int((await raw(storage, "PRAGMA synchronous"))[0][0])

        await storage.insert([draft(), draft()])
        assert await mode() == 2
        seen: list[str] = []
        await writer(storage).run(lambda connection: connection.set_trace_callback(seen.append))
        (one, two) = await claim(storage)
        assert "PRAGMA synchronous = NORMAL" in seen
        await storage.settle([done(one), done(two)])
        assert "PRAGMA synchronous = FULL" in seen[seen.index("PRAGMA synchronous = NORMAL") :]
        await writer(storage).run(lambda connection: connection.set_trace_callback(None))


async def test_sqlite_waits_for_the_disk_if_one_of_a_group_must(tmp_path: Path) -> None:
    """A claim that shares a commit with a push makes it no less durable."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await storage.insert([draft()])
        await claim(storage)
        seen: list[str] = []
        await writer(storage).run(
            lambda connection: connection.set_trace_callback(seen.append), durable=False
        )

        async with (
            held(writer(storage), durable=False) as let_go,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(claim, storage)
            tasks.start_soon(storage.push, "x")
            await settled_down()
            let_go()
        await writer(storage).run(lambda connection: connection.set_trace_callback(None))

    assert seen.index("PRAGMA synchronous = FULL") < seen.index("SAVEPOINT job")


async def test_sqlite_refuses_what_comes_while_it_closes(tmp_path: Path) -> None:
    """A write handed over behind the last one is refused; its caller does not wait for ever."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        refused: list[BackendClosed] = []

        async def push() -> None:
            with pytest.raises(BackendClosed) as caught:
                await storage.push("late")
            refused.append(caught.value)

        async with held(writer(storage)) as let_go, anyio.create_task_group() as tasks:
            writer(storage)._queue.put(None)
            tasks.start_soon(push)
            await settled_down()
            let_go()
        writer(storage)._thread.join(5)
        writer(storage)._closing = False  # as a caller saw it just before the end
        await push()

    assert len(refused) == 2


async def test_sqlite_open_is_undone_when_it_fails_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage whose reader cannot be opened leaves no thread behind."""

    def fail(path: str) -> sqlite3.Connection:
        raise sqlite3.OperationalError(path)

    monkeypatch.setattr(connection, "connect_reader", fail)

    with pytest.raises(BackendBroken):
        async with SqliteStorage(tmp_path / "tasks.db", str):
            pass

    for thread in threading.enumerate():
        if str(tmp_path) in thread.name:
            thread.join(5)
            assert not thread.is_alive()
