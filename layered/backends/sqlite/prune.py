"""Prune: what has ended and is past its retention, and what expired unseen."""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from layered.backend import Limits
from layered.backends.sqlite.claim import expire
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.queries import named
from layered.backends.sqlite.workers import forget
from layered.task import Status

_SQL = named("prune.sql")
_OVERDUE, _WALK = _SQL["overdue"], _SQL["walk"]
_FREE, _DROP, _STRIP, _DELETE = _SQL["free"], _SQL["drop"], _SQL["strip"], _SQL["delete"]

_STEP = 2000
"""Most rows that one step looks at: a few milliseconds of the writer."""


class Step(NamedTuple):
    """What one step did: rows changed, where it stopped, whether nothing older is left."""

    changed: int
    cursor: int
    last: bool


def sweep(connection: sqlite3.Connection, clock: Clock, limit: int) -> int:
    """
    Make tasks dead that were not started in time; answer how many, at most *limit*.

    Forgets workers, too, which nobody counts.
    """
    now = clock.wall()
    rows = connection.execute(_OVERDUE, (now, limit)).fetchall()
    expire(connection, now, rows)
    forget(connection, now)
    return len(rows)


def step(
    connection: sqlite3.Connection, clock: Clock, limits: Limits, cursor: int, limit: int
) -> Step:
    """
    Walk on from *cursor* in the order of pushing; strip and remove at most *limit* rows.

    There is no index on ended rows: it would cost every task more than
    this walk. It is over where a whole step finds only rows too young to
    be past their retention.
    """
    now = clock.wall()
    youngest = now - int(min(limits.keep_done, limits.keep_dead) * 1e6)
    tombstone = now - int(limits.tombstone * 1e6)
    done, dead = now - int(limits.keep_done * 1e6), now - int(limits.keep_dead * 1e6)
    strip, delete, old = [], [], False
    values = {"now": now, "cursor": cursor, "most": _STEP}
    rows = connection.execute(_WALK, values).fetchall()
    for seq, state, created, finished, stripped, held in rows:
        old = old or created <= youngest
        cursor = seq
        if state >= Status.DONE and finished <= (dead if state == Status.DEAD else done):
            if finished <= tombstone and not held:
                delete.append(seq)
            elif not stripped:
                strip.append(seq)
        if len(strip) + len(delete) == limit:
            break
    for statement, chosen in ((_STRIP, strip), (_DELETE, delete)):
        if chosen:
            gone = json.dumps(chosen)
            connection.execute(_FREE, {"rows": gone, "now": now})
            connection.execute(_DROP, {"rows": gone})
            connection.execute(statement, (gone,))
    return Step(len(strip) + len(delete), cursor, not old or len(rows) < _STEP)
