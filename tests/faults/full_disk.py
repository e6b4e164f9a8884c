"""
A disk that fills up: ``python -m tests.faults.full_disk FOLDER LOOP``.

To be run where *FOLDER*/disk is a small file system of its own.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import cast

from layered.errors import Full
from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import TASKS, Loop, Unit
from tests.faults.store_sqlite import SqliteStore, opened
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, broken, held, stop

HELD = 20
"""Tasks that run while the disk fills up, and end while it is full."""
BATCH = 10
PADDING = {"padding": "x" * 4000}


def fill(ballast: Path) -> None:
    """Leave no room on a disk."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def push_until_full(store: SqliteStore) -> int:
    """Push until the store says that there is no room; answer how many were accepted."""
    for first in range(len(store.numbers), TASKS, BATCH):
        units = [Unit(n) for n in range(first, first + BATCH)]
        try:
            store.push(units, metadata=PADDING)
        except Full:
            return len(store.numbers)
    msg = f"{TASKS} tasks fit on a full disk"
    raise AssertionError(msg)


def happen(store: SqliteStore, crew: Crew, loop: Loop) -> str:
    """Let a disk fill up while a worker works, and make room again; answer the figures."""
    store.push([Unit(n, "hold") for n in range(HELD)])
    store.push([Unit(n, seconds=0.005) for n in range(HELD, TASKS // 2)])
    numbers = SettingsChange(lease=5.0, concurrency=HELD + 2)
    tell = ("TaskEnded", "TaskStale", "BackendTroubled")
    worker = crew.start(store.setting(loop=loop, numbers=numbers, tell=tell))
    wait_until(lambda: store.done() > TASKS // 8, 15.0, "some are done")
    ballast = store.folder / store.disk / "ballast"

    fill(ballast)
    accepted = push_until_full(store)
    store.ledger.gate(1).touch()
    worker.wait_for("BackendTroubled")
    ballast.unlink()
    for first in range(accepted, TASKS, BATCH):
        store.push([Unit(n) for n in range(first, first + BATCH)])
    wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")  # those held among them
    stop(crew)

    assert store.count("SELECT count(*) FROM task") == TASKS
    wrong = broken(store, crew, extra=MAX_IN_FLIGHT)
    assert wrong == [], wrong
    return (
        f"{held(store)}; pushes refused as Full from {accepted:,} on, until there was room; "
        f"leases lost {len(worker.heard('TaskStale'))}"
    )


def main() -> None:
    """Print the figures, or fail."""
    folder, loop = Path(sys.argv[1]), cast("Loop", sys.argv[2])
    with opened(folder, "disk") as store, closing(Crew(folder)) as crew:
        os.write(1, happen(store, crew, loop).encode())


if __name__ == "__main__":
    main()
