"""Which files are opened, created and refused."""

import re
import shutil
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import anyio
import pytest

from layered.backends.sqlite import SqliteStorage, connection, writer
from layered.backends.sqlite.queries import text
from layered.errors import BackendError, Fatal, Transient, WrongState
from tests.backends.sqlite_storage import claim, done, draft, query, run_together


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Read all files of a folder, with the times of their last change."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())
    }


def modes(folder: Path) -> dict[str, int]:
    """Read who may do what with the files of a folder."""
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in sorted(folder.iterdir())}


async def refusal(path: Path) -> str:
    """Answer the message with which a file is refused."""
    with pytest.raises(Fatal) as caught:
        async with SqliteStorage(path, str):
            pass
    return str(caught.value)


async def test_sqlite_creates_the_file_for_its_owner_only(tmp_path: Path) -> None:
    """Nobody else reads the tasks, nor the log beside them."""
    path = tmp_path / "tasks.db"

    async with SqliteStorage(path, str) as storage:
        await storage.push("x")
        during = modes(tmp_path)

    assert set(during.values()) == {0o600}
    assert modes(tmp_path) == {"tasks.db": 0o600}


async def test_sqlite_adopts_an_empty_file(tmp_path: Path) -> None:
    """A file made by mktemp is as good as none."""
    path = tmp_path / "tasks.db"
    path.touch(0o640)

    async with SqliteStorage(path, str) as storage:
        await storage.push("x")

    assert query(path, "SELECT count(*) FROM task") == [(1,)]
    assert modes(tmp_path) == {"tasks.db": 0o640}


async def test_sqlite_keeps_tasks_when_it_is_opened_again(tmp_path: Path) -> None:
    """What was accepted is there for the next process, and the same object opens again."""
    storage = SqliteStorage(tmp_path / "tasks.db", str)
    async with storage:
        pushed = await storage.push("x")

    async with storage:
        record = await storage.get(pushed.id)
        await storage.check()

    assert record is not None
    assert record.payload == b'"x"'


async def test_sqlite_leaves_a_file_alone_that_is_no_database(tmp_path: Path) -> None:
    """Pointing at the wrong file harms nobody."""
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 1000)
    before = state(tmp_path)

    message = await refusal(path)

    assert "no SQLite database" in message
    assert "choose another file" in message
    assert state(tmp_path) == before


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
@pytest.mark.parametrize("application_id", [0, 77])
async def test_sqlite_leaves_another_programs_database_alone(
    tmp_path: Path, application_id: int, journal: str
) -> None:
    """A database with other tables is not written to, and no log is created beside it."""
    path = tmp_path / "books.db"
    query(path, "CREATE TABLE book (title)")
    query(path, f"PRAGMA application_id = {application_id}")
    query(path, f"PRAGMA journal_mode = {journal}")
    before = state(tmp_path)

    message = await refusal(path)

    assert "another program" in message
    assert "book" in message
    assert state(tmp_path) == before


@pytest.mark.parametrize(("version", "way_out"), [(99, "upgrade"), (1, "version .* that made it")])
async def test_sqlite_leaves_another_schema_alone(
    tmp_path: Path, version: int, way_out: str
) -> None:
    """An old program says that it is old, a new one that the file is."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str):
        pass
    query(path, f"PRAGMA user_version = {version}")
    before = state(tmp_path)

    message = await refusal(path)

    assert f"schema version {version}" in message
    assert re.search(way_out, message)
    assert state(tmp_path) == before


async def test_sqlite_refuses_a_symbolic_link(tmp_path: Path) -> None:
    """A link may be pointed elsewhere by somebody else."""
    link = tmp_path / "tasks.db"
    link.symlink_to(tmp_path / "target.db")

    message = await refusal(link)

    assert "symbolic link" in message
    assert [*modes(tmp_path)] == ["tasks.db"]


async def test_sqlite_refuses_what_is_no_file(tmp_path: Path) -> None:
    """A folder, a missing folder and memory are no files."""
    assert "no regular file" in await refusal(tmp_path)
    assert "cannot be created" in await refusal(tmp_path / "missing" / "tasks.db")
    assert "MemoryStorage" in await refusal(Path(":memory:"))


async def test_sqlite_tells_a_damaged_file(tmp_path: Path) -> None:
    """A damaged page is `Fatal`, with SQLite's error as its cause."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str) as storage:
        await storage.push_many(["x" * 1000] * 100)
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    path.write_bytes(damaged)

    with pytest.raises(Fatal) as caught:
        async with SqliteStorage(path, str) as storage:
            await storage.push("x")

    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert "damaged" in str(caught.value)


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
async def test_sqlite_refuses_to_write_to_a_file_that_is_gone(
    tmp_path: Path, replaced: bool
) -> None:
    """SQLite itself would go on: every push would be accepted, and lost."""
    path, kept = tmp_path / "tasks.db", tmp_path / "kept.db"
    async with SqliteStorage(path, str) as storage:
        first = await storage.push("x")
        path.rename(kept)
        if replaced:
            path.touch()

        with pytest.raises(Fatal, match="another file" if replaced else "removed"):
            await storage.push("y")

        kept.rename(path)
        second = await storage.push("z")

    async with SqliteStorage(path, str) as storage:
        assert [one and one.payload for one in await storage.fetch([first.id, second.id])] == [
            b'"x"',
            b'"z"',
        ]


async def test_sqlite_check_finds_a_removed_file(tmp_path: Path) -> None:
    """Writes to a removed file would vanish with the process."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str) as storage:
        path.unlink()

        with pytest.raises(Fatal, match="removed"):
            await storage.check()


async def test_sqlite_is_transient_while_another_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that lasts too long fails the write, which may be tried again later."""
    monkeypatch.setattr(writer, "BUSY", 0.05)
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str) as storage:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(Transient) as caught:
                await storage.push("x")
        finally:
            other.close()
        await storage.push("y")

        leases = await claim(storage)

    assert not isinstance(caught.value, Fatal)
    assert "another process" in str(caught.value)
    assert [lease.payload for lease in leases] == [b'"y"']


async def test_sqlite_refuses_a_run_that_the_store_rolled_back(tmp_path: Path) -> None:
    """A store that lost its last commits issues an epoch twice; the claim id tells them apart."""
    path, copy = tmp_path / "tasks.db", tmp_path / "copy.db"
    async with SqliteStorage(path, str) as storage:
        await storage.insert([draft()])
    shutil.copy(path, copy)
    async with SqliteStorage(path, str) as storage:
        (first,) = await claim(storage)
    shutil.copy(copy, path)

    async with SqliteStorage(path, str) as storage:
        (second,) = await claim(storage)
        lost = await storage.settle([done(first)])
        kept = await storage.settle([done(second)])

    assert first.fence.epoch == second.fence.epoch
    assert [answer.verdict.value for answer in (*lost, *kept)] == ["stale", "applied"]


OPEN = """
import sys, anyio
from layered.backends.sqlite import SqliteStorage
async def main():
    sys.stdin.readline()
    async with SqliteStorage(sys.argv[1], str) as storage:
        for _ in range(5):
            await storage.push("x")
anyio.run(main)
"""
TAKE = """
import sys, anyio
from layered.backend import Claimant, Done, Settle
from layered.backends.sqlite import SqliteStorage
async def main():
    sys.stdin.readline()
    async with SqliteStorage(sys.argv[1], str) as storage:
        me = Claimant("default", sys.argv[0])
        while leases := (await storage.claim(me, {"str": 7}, 7)).leases:
            answers = await storage.settle([Settle(l.fence, Done(b"1"), 1) for l in leases])
            for lease, answer in zip(leases, answers):
                print(lease.id, answer.verdict.value)
anyio.run(main)
"""


def test_sqlite_is_created_once_by_many_threads(tmp_path: Path) -> None:
    """Of those that find no file at the same moment one makes it, and all can use it."""
    for number in range(20):
        path, start = str(tmp_path / f"{number}.db"), Barrier(8)

        def open_it(path: str = path, start: Barrier = start) -> str:
            start.wait()
            connection.prepare(path)
            with closing(connection.connect(path)) as database:
                return str(database.execute("PRAGMA journal_mode").fetchone()[0])

        with ThreadPoolExecutor(8) as threads:
            found = [threads.submit(open_it) for _ in range(8)]
        assert [each.result() for each in found] == ["wal"] * 8


def test_sqlite_waits_to_switch_to_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite does not wait for a writer when it switches to WAL; the storage does."""
    path = str(tmp_path / "tasks.db")
    connection.prepare(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            other.rollback()

        monkeypatch.setattr("time.sleep", wait)
        with closing(connection.connect(path)) as database:
            mode = database.execute("PRAGMA journal_mode").fetchone()

    assert mode == ("wal",)
    assert len(waits) == 1


def test_sqlite_is_created_once_by_ten_processes(tmp_path: Path) -> None:
    """Processes that start together all open the file, and none loses a push."""
    path = tmp_path / "tasks.db"

    run_together(OPEN, path, 10)

    assert query(path, "SELECT count(*) FROM task") == [(50,)]


async def test_sqlite_is_shared_by_processes(tmp_path: Path) -> None:
    """Three claiming processes share the tasks: each runs once."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str) as storage:
        await storage.push_many(["x"] * 50)

    lines = await anyio.to_thread.run_sync(run_together, TAKE, path, 3)

    assert len({line.split()[0] for line in lines}) == len(lines) == 50
    assert {line.split()[1] for line in lines} == {"applied"}


async def test_sqlite_says_when_it_is_not_open(tmp_path: Path) -> None:
    """Using a storage before or after its `async with` is a clear error."""
    storage = SqliteStorage(tmp_path / "tasks.db", str)

    with pytest.raises(BackendError, match="not open"):
        await storage.push("x")
    async with storage:
        pass
    with pytest.raises(BackendError, match="open it"):
        await storage.push("x")

    assert [*modes(tmp_path)] == ["tasks.db"]


async def test_sqlite_is_refused_when_it_is_open_already(tmp_path: Path) -> None:
    """Leaving the inner block would close the storage for the outer one."""
    storage = SqliteStorage(tmp_path / "tasks.db", str)

    async with storage:
        with pytest.raises(WrongState, match="it is open already; enter it once, or make another"):
            await storage.__aenter__()
        await storage.push("x")
    async with storage:
        await storage.push("y")

    assert query(tmp_path / "tasks.db", "SELECT count(*) FROM task") == [(2,)]


async def test_sqlite_opens_after_an_opening_that_failed(tmp_path: Path) -> None:
    """What was wrong with the folder can be mended."""
    path = tmp_path / "missing" / "tasks.db"
    storage = SqliteStorage(path, str)
    with pytest.raises(Fatal, match=r"cannot be created \(No such file.*\); its folder must exist"):
        await storage.__aenter__()
    path.parent.mkdir()

    async with storage:
        await storage.push("x")


async def test_sqlite_says_when_a_file_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is not taken for a file that is no database."""
    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, str):
        pass

    def refused(path: str) -> connection.Found:
        msg = "unable to open database file"
        raise sqlite3.OperationalError(msg)

    monkeypatch.setattr(connection, "_look_once", refused)  # root may read every file
    monkeypatch.setattr("os.access", lambda *_: False)

    assert "it cannot be read (unable to open database file); give this" in await refusal(path)


@pytest.mark.parametrize("file", ["claim.sql", "lease.sql", "push.sql", "read.sql", "settle.sql"])
def test_sqlite_statements_number_no_parameters(file: str) -> None:
    """Python 3.12.0 to 3.12.3 take ``?1`` for a name, and warn at each use: cpython#117995."""
    assert not re.search(r"\?\d", text(file))
