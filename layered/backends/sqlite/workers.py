"""Workers: their signs of life."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from layered.backend import Beat, Sighting
from layered.backends.sqlite.clock import Clock, after
from layered.backends.sqlite.queries import named
from layered.task import from_micros

_SQL = named("workers.sql")
_BEAT, _LEAVE, _WORKERS, _FORGET = _SQL["beat"], _SQL["leave"], _SQL["workers"], _SQL["forget"]

_MISSED = 3
"""Beats without which a worker is taken for dead."""
_KEPT = 24 * 3600 * 1_000_000
"""Microseconds that a worker is kept that is not seen any more."""


def beat(connection: sqlite3.Connection, clock: Clock, beat: Beat) -> None:
    """See `Sees.beat`."""
    owner, queue, about, every = beat
    connection.execute(_BEAT, (owner, queue, about, after(0, every), clock.wall()))


def leave(connection: sqlite3.Connection, owner: str) -> None:
    """See `Sees.leave`."""
    connection.execute(_LEAVE, (owner,))


def workers(connection: sqlite3.Connection, clock: Clock) -> Sequence[Sighting]:
    """See `Sees.workers`."""
    now = clock.wall()
    return [
        Sighting(owner, queue, about, from_micros(seen_at), now - seen_at < _MISSED * every)
        for owner, queue, about, every, seen_at in connection.execute(_WORKERS).fetchall()
    ]


def forget(connection: sqlite3.Connection, now: int) -> None:
    """Remove the workers that were not seen for a day."""
    connection.execute(_FORGET, (now - _KEPT,))
