"""persist-queue: a queue in SQLite with acknowledgements, and no worker: the loop is ours."""

from __future__ import annotations

import tempfile

from persistqueue import (  # type: ignore[import-not-found] # installed for the run only
    SQLiteAckQueue,
)

from benchmarks.peers.contest import Figures, Stopwatch, compete, durability, mails


def sqlite(tasks: int) -> Figures:
    """Push and process in a file."""
    with tempfile.TemporaryDirectory() as folder:
        queue = SQLiteAckQueue(folder)
        watch = Stopwatch(tasks)
        for mail in mails(tasks):
            queue.put(mail)
        watch.pushed()
        for _ in range(tasks):
            item = queue.get(block=False)
            queue.ack(item)
            watch.handled()
        figures = watch.figures() | durability(queue._putter)  # noqa: SLF001 - what is in force
        queue.close()
        return figures


if __name__ == "__main__":
    compete({"sqlite": sqlite})
