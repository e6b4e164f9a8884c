"""The store in a file of SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
from anyio.from_thread import start_blocking_portal

from layered import SqliteStorage
from layered.backend import Limits
from tests.faults.setting import Ledger, PlainUnit, Setting, Unit
from tests.faults.store import SLACK, Store

AUDIT = """
CREATE TABLE audit (task TEXT NOT NULL, what TEXT NOT NULL);
CREATE TRIGGER into_done AFTER UPDATE OF state ON task WHEN new.state = 5
BEGIN INSERT INTO audit VALUES (new.id, 'done'); END;
CREATE TRIGGER out_of_done AFTER UPDATE OF state ON task WHEN old.state = 5 AND new.state <> 5
BEGIN INSERT INTO audit VALUES (new.id, 'undone'); END;
CREATE TRIGGER reaped AFTER UPDATE OF state ON task
WHEN old.state = 4 AND new.state <> 4 AND new.settled_op = 'reaped'
BEGIN INSERT INTO audit VALUES (new.id, 'reaped'); END;
CREATE TABLE effect (number INTEGER NOT NULL);
"""


@attrs.define
class SqliteStore(Store):
    """A store in a file."""

    modules: ClassVar = (
        "tests.faults.storages",
        "tests.faults.faulty",
        "tests.mutants.sqlite_storages",
    )

    path: Path
    connection: sqlite3.Connection
    disk: str = ""

    def setting(self, **rest: Any) -> Setting:
        """Name the file's folder."""
        return Setting(str(self.folder), disk=self.disk, **rest)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Look without layered."""
        return self.connection.execute(sql, values).fetchall()

    def stuck(self) -> list[str]:
        """Read the machine's monotonic clock, by which leases go."""
        overdue = int((time.monotonic() - SLACK) * 1e6)
        return [
            f"task {task} is stuck with {owner}"
            for task, owner in self.query(
                "SELECT id, owner FROM task WHERE state = 4 AND lease_until + 2 * lease < ?",
                overdue,
            )
        ]

    def locked(self) -> bool:
        """Try to begin a write."""
        with closing(sqlite3.connect(self.path, timeout=0.1)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Begin a write."""
        self.connection.execute("BEGIN IMMEDIATE")
        yield
        self.connection.execute("ROLLBACK")

    def damage(self) -> list[str]:
        """Let SQLite look at every page."""
        return [said for (said,) in self.query("PRAGMA integrity_check") if said != "ok"]

    def size(self) -> int:
        """Measure the file, log included."""
        return sum(Path(f"{self.path}{end}").stat().st_size for end in ("", "-wal"))

    def reaped_from(self, pid: int) -> int:
        """Search the errors, which name the lost worker."""
        return self.count(
            "SELECT count(*) FROM task, json_each(errors) AS one WHERE one.value LIKE ?",
            f"%/{pid}/%",
        )


@contextmanager
def opened(folder: Path, disk: str = "", limits: Limits | None = None) -> Iterator[SqliteStore]:
    """Make a store in *folder*, or in a folder of that, with its audit."""
    where = Setting(str(folder), disk=disk).database
    storage: SqliteStorage[Unit | PlainUnit] = SqliteStorage(
        where, Unit | PlainUnit, limits=limits or Limits()
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(storage),
        closing(sqlite3.connect(where, timeout=30.0, isolation_level=None)) as connection,
    ):
        connection.executescript(AUDIT)
        yield SqliteStore(folder, storage, portal, Ledger(folder), where, connection, disk)
