"""Queues: which there are, and which are paused."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from layered.backend import Claimed, Queue
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.queries import named
from layered.task import from_micros, to_micros

_SQL = named("queues.sql")
_REGISTER, _PAUSED, _QUEUES = _SQL["register"], _SQL["paused"], _SQL["queues"]
_PAUSE, _RESUME = _SQL["pause"], _SQL["resume"]


def register(connection: sqlite3.Connection, queue: str) -> None:
    """Note that a storage was opened for a queue."""
    connection.execute(_REGISTER, (queue,))


def held_up(connection: sqlite3.Connection, queue: str, now: int) -> Claimed | None:
    """Answer what a claim of a paused queue gets; `None` if the queue is not paused."""
    for (until,) in connection.execute(_PAUSED, (queue, now)).fetchall():
        return Claimed([], next_due_in=None if until is None else (until - now) / 1e6)
    return None


def queues(connection: sqlite3.Connection, clock: Clock) -> Sequence[Queue]:
    """See `Pauses.queues`."""
    return [
        Queue(name, bool(paused), from_micros(until) if paused and until is not None else None)
        for name, paused, until in connection.execute(_QUEUES, (clock.wall(),)).fetchall()
    ]


def pause(connection: sqlite3.Connection, queue: str, until: datetime | None) -> None:
    """See `Pauses.pause`."""
    connection.execute(_PAUSE, (queue, None if until is None else to_micros(until)))


def resume(connection: sqlite3.Connection, queue: str) -> None:
    """See `Pauses.resume`."""
    connection.execute(_RESUME, (queue,))
