"""Progress and checkpoints: what a run writes of itself, by its fence."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from layered.backends.sqlite.queries import named
from layered.task import Fence

_SQL = named("progress.sql")
_PROGRESS, _KEEP, _KEPT, _STEPS = _SQL["progress"], _SQL["keep"], _SQL["kept"], _SQL["steps"]


def progress(connection: sqlite3.Connection, fence: Fence, value: bytes) -> bool:
    """See `Reports.progress`."""
    return connection.execute(_PROGRESS, (value, *fence)).rowcount > 0


def checkpoint(
    connection: sqlite3.Connection, fence: Fence, step: str, value: bytes
) -> bytes | None:
    """See `Remembers.checkpoint`."""
    connection.execute(_KEEP, (step, value, *fence))
    kept: list[tuple[bytes]] = connection.execute(_KEPT, (*fence, step)).fetchall()
    return kept[0][0] if kept else None


def checkpoints(connection: sqlite3.Connection, task_id: str) -> Mapping[str, bytes]:
    """See `Remembers.checkpoints`."""
    return dict(connection.execute(_STEPS, (task_id,)).fetchall())
