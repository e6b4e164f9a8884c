"""Storages for worker processes that have bad luck."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from layered import SqliteStorage
from layered.backend import Answer, Claimant, Claimed, Renews, Settle
from layered.errors import Transient
from tests.faults.deeds import die
from tests.faults.setting import TASKS, PlainUnit, Unit


class DeadlyStorage(SqliteStorage[Unit]):
    """Dies in the first attempt of a task whose deed names one of its points."""

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """Die between a claim's commit and the worker's hearing of it."""
        claimed = await super().claim(claimant, wanted, most)
        self._deeds = {
            lease.id: msgspec.json.decode(lease.payload, type=Unit).deed for lease in claimed.leases
        }
        if any(
            lease.attempt == 1 and self._deeds[lease.id] == "die when claimed"
            for lease in claimed.leases
        ):
            die()
        return claimed

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """Die before a settle, or between its commit and the worker's hearing of it."""
        deeds = {self._deeds[item.fence.id] for item in items if item.attempt == 1}
        if "die before the settle" in deeds:
            die()
        answers = await super().settle(items)
        if "die after the settle" in deeds:
            die()
        return answers


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


class LateStorage(SqliteStorage[Unit]):
    """Cannot open the keeper's connection the first two times."""

    _refused = 0

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[Renews]:
        """Refuse at first."""
        if self._refused < 2:
            self._refused += 1
            raise Transient("the file is locked")
        async with super().keeper() as renews:
            yield renews
