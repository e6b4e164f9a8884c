"""The backends that the conformance rules run on: a new one is one line in `BACKENDS`."""

import sqlite3
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import anyio.to_thread
import attrs

from layered.backend import Limits, Storage
from layered.backends.memory import MemoryStorage
from layered.backends.sqlite import SqliteStorage
from layered.task import NO_METADATA, new_id
from layered.testing.conformance.backend import Clock, Make
from tests.conformance.postgres import MakePostgres


@attrs.frozen
class MakeMemory:
    """Makes memory storages."""

    folder: Path

    def __call__(self, now: Clock, limits: Limits) -> MemoryStorage[str]:
        return MemoryStorage(str, limits=limits, now=now)

    async def copy(self, storage: Storage[Any], now: Clock, limits: Limits) -> MemoryStorage[str]:
        """Take a copy of the book, and no more: clocks and listeners are of the copy's own."""
        assert isinstance(storage, MemoryStorage)
        copy = self(now, limits)
        copy._book = deepcopy(storage._book, {id(NO_METADATA): NO_METADATA})
        return copy


@attrs.frozen
class MakeSqlite:
    """Makes SQLite storages, each in a file of its own."""

    folder: Path

    def __call__(self, now: Clock, limits: Limits) -> SqliteStorage[str]:
        return SqliteStorage(self.folder / f"{new_id()}.db", str, limits=limits, now=now)

    async def copy(self, storage: Storage[Any], now: Clock, limits: Limits) -> SqliteStorage[str]:
        """Have SQLite copy the file."""
        assert isinstance(storage, SqliteStorage)
        copy = self(now, limits)
        await anyio.to_thread.run_sync(run, storage.path, f"VACUUM INTO '{copy.path}'")
        return copy

    def effect(self, error: Exception | None) -> Callable[[sqlite3.Connection], None]:
        """Make an effect: a row in a table of the user's."""

        def effect(connection: sqlite3.Connection) -> None:
            connection.execute("CREATE TABLE IF NOT EXISTS effect (number)")
            connection.execute("INSERT INTO effect VALUES (1)")
            if error is not None:
                raise error

        return effect

    async def effects(self, storage: Storage[Any]) -> int:
        """Count the rows."""
        assert isinstance(storage, SqliteStorage)
        exists = "SELECT count(*) FROM sqlite_schema WHERE name = 'effect'"
        if not await anyio.to_thread.run_sync(run, storage.path, exists):
            return 0
        return await anyio.to_thread.run_sync(run, storage.path, "SELECT count(*) FROM effect")


def run(path: str, statement: str) -> int:
    """Run a statement on a connection of its own; answer the number that it gives, or 0."""
    connection = sqlite3.connect(path)
    try:
        row = connection.execute(statement).fetchone()
    finally:
        connection.close()
    return 0 if row is None else int(row[0])


BACKENDS: dict[str, Callable[[Path], Make]] = {
    "memory": MakeMemory,
    "sqlite": MakeSqlite,
    "postgres": MakePostgres,
}
