"""A process that opens and copies a store: ``python -m tests.faults.copier SETTING``."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import msgspec

from tests.faults.program import prepare, storage_of
from tests.faults.setting import Setting, Told


def copy(setting: Setting, number: int) -> Path:
    """Copy the store by one of SQLite's two ways; answer the folder of the copy."""
    folder = Path(setting.folder, f"copy{number}")
    folder.mkdir()
    target = folder / "tasks.db"
    with closing(sqlite3.connect(setting.database, timeout=30.0)) as connection:
        if number % 2:
            with closing(sqlite3.connect(target)) as copied:
                connection.backup(copied)
        else:
            connection.execute("VACUUM INTO ?", (str(target),))
    return folder


async def visit(setting: Setting) -> None:
    """Open the store as any program would, and look at it."""
    async with storage_of(setting) as storage:
        await storage.check()
        await storage.counts("default")


def main() -> None:
    """Visit and copy as often as the setting says, and tell of each copy."""
    setting = prepare()
    for number in range(*setting.push):
        anyio.run(visit, setting, backend=setting.loop)
        folder = copy(setting, number)
        os.write(1, msgspec.json.encode(Told("Copied", status=str(folder))) + b"\n")


if __name__ == "__main__":
    main()
