"""Storages for worker processes that have bad luck."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from layered import SqliteStorage
from tests.faults.bad_luck import Deadly, Late
from tests.faults.deeds import die
from tests.faults.setting import TASKS, PlainUnit, Unit


class DeadlyStorage(Deadly, SqliteStorage[Unit]):
    """Dies at points of a run."""


TRAPS = {
    # The statement during which the process dies, and after how many steps of SQLite.
    "in a claim": ("epoch = epoch + 1", 30),
    "in a batch of settles": ("WHERE id = item.column4", 300),
    "in a commit": ("COMMIT", 1),
    "in reap": ("settled_op = 'reaped'", 20),
    "in prune": ("DELETE FROM task", 200),
}
SPRINGS = max(2, TASKS // 500)
"""How often each trap springs, whatever process it hits."""


class TrapStorage(SqliteStorage[Unit]):
    """Dies amid transactions."""

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        sprung: list[str] = []

        def look(statement: str) -> None:
            if sprung:  # the statement was over before its steps were
                die()
            for name, (part, steps) in TRAPS.items():
                if part in statement and self._springs(name):
                    sprung.append(name)
                    connection.set_progress_handler(die, steps)
                    return

        connection.set_trace_callback(look)
        return connection

    def _springs(self, name: str) -> bool:
        """Answer whether a trap is left, and take it: it is a file, since its finder dies."""
        for number in range(SPRINGS):
            with suppress(FileExistsError):
                Path(self.path).with_name(f"{name} {number}").touch(exist_ok=False)
                return True
        return False


def shifted(database: Path) -> float:
    """Read the wall clock, moved by the seconds that stand in a file beside the store."""
    return time.time() + float(database.with_name("shift").read_text())


class ShiftedStorage(SqliteStorage[Unit | PlainUnit]):
    """Has a wall clock that the tests step."""

    def __init__(self, where: Path, args: Any) -> None:
        super().__init__(where, args, now=partial(shifted, where))


class LateStorage(Late, SqliteStorage[Unit]):
    """Has no keeper at first."""
