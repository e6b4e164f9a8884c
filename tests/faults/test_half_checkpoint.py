"""A worker is killed while it moves the write-ahead log into the file: no harm is done."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from layered import SqliteStorage
from tests.faults.backends import on_sqlite
from tests.faults.setting import PlainUnit, Unit
from tests.faults.store_sqlite import SqliteStore

pytestmark = on_sqlite


def test_a_file_opens_after_a_kill_in_the_middle_of_a_checkpoint(
    store: SqliteStore, tmp_path: Path
) -> None:
    """The file then has a first page that counts pages which only the log has."""
    store.query("PRAGMA wal_checkpoint(TRUNCATE)")
    store.push([Unit(n) for n in range(500)])
    killed = cut_short(store, tmp_path / "killed.db", tmp_path / "finished.db")

    with start_blocking_portal() as portal:
        storage: SqliteStorage[Unit | PlainUnit] = SqliteStorage(killed, Unit | PlainUnit)
        with portal.wrap_async_context_manager(storage):
            counts = portal.call(storage.counts, "default")

    assert sum(counts["Unit"].values()) == 500


def cut_short(store: SqliteStore, killed: Path, finished: Path) -> Path:
    """Copy the store, log included, as if a checkpoint had written the first page and no more."""
    for copy in (killed, finished):
        shutil.copy(store.path, copy)
        shutil.copy(f"{store.path}-wal", f"{copy}-wal")
    with closing(sqlite3.connect(finished)) as connection:
        ((size,),) = connection.execute("PRAGMA page_size").fetchall()
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() == [(0, 0, 0)]
    assert finished.stat().st_size > killed.stat().st_size
    with killed.open("r+b") as file:
        file.write(finished.read_bytes()[:size])
    return killed
