"""litequeue: a queue of texts in SQLite with acknowledgements, and no worker: the loop is ours."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from litequeue import (  # type: ignore[import-not-found] # installed for the run only
    LiteQueue,
)

from benchmarks.peers.contest import Figures, Stopwatch, compete, durability, mails


def sqlite(tasks: int) -> Figures:
    """Push and process in a file, made as durable as the others."""
    with tempfile.TemporaryDirectory() as folder:
        queue = LiteQueue(Path(folder) / "queue.db")
        queue.conn.execute("PRAGMA synchronous = FULL")
        watch = Stopwatch(tasks)
        for mail in mails(tasks):
            queue.put(json.dumps(mail))
        watch.pushed()
        for _ in range(tasks):
            message = queue.pop()
            json.loads(message.data)
            queue.done(message.message_id)
            watch.handled()
        figures = watch.figures() | durability(queue.conn)
        queue.conn.close()
        return figures


if __name__ == "__main__":
    compete({"sqlite": sqlite})
