"""huey: threads; in SQLite a task is deleted when it is taken."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from huey import (  # type: ignore[import-not-found] # installed for the run only
    MemoryHuey,
    SqliteHuey,
)

from benchmarks.peers.contest import Figures, Stopwatch, compete, durability, mails


def memory(tasks: int, threads: int) -> Figures:
    """Push and process in memory."""
    return _through(MemoryHuey(), tasks, threads, None)


def sqlite(tasks: int, kept: int) -> Figures:
    """Push and process in a file, with results kept or without."""
    with tempfile.TemporaryDirectory() as folder:
        queue = SqliteHuey(filename=str(Path(folder) / "huey.db"))
        figures = _through(queue, tasks, 1, "sent" if kept else None)
        return figures | durability(queue.storage.conn)


def _through(queue: Any, tasks: int, threads: int, result: str | None) -> Figures:  # noqa: ANN401 - untyped
    def send(id: int, to: str, subject: str) -> str | None:  # noqa: A002, ARG001 - as elsewhere
        watch.handled()
        return result

    task = queue.task()(send)
    watch = Stopwatch(tasks)
    for mail in mails(tasks):
        task(*mail.values())  # by name, `id` would be the task's own
    watch.pushed()
    consumer = queue.create_consumer(workers=threads)
    consumer.start()
    figures = watch.figures()
    consumer.stop(graceful=True)
    return figures


if __name__ == "__main__":
    compete({"memory": memory, "sqlite": sqlite})
