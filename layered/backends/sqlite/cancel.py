"""Cancel and requeue: users end tasks, and have ended ones run again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from layered.backend import Change
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.dedup import hold, holder
from layered.backends.sqlite.queries import named
from layered.task import Status

_SQL = named("cancel.sql")
_CANCEL, _LOOK, _REQUEUE = _SQL["cancel"], _SQL["look"], _SQL["requeue"]


def cancel(connection: sqlite3.Connection, clock: Clock, ids: Sequence[str]) -> Sequence[Change]:
    """See `Cancels.cancel`."""
    now = clock.wall()
    return [_cancel(connection, now, id_) for id_ in ids]


def _cancel(connection: sqlite3.Connection, now: int, id_: str) -> Change:
    for (state,) in connection.execute(_CANCEL, (now, id_)).fetchall():
        return Change(id_, Status(state), changed=True)
    row = connection.execute(_LOOK, (id_,)).fetchone()
    return Change(id_, None if row is None else Status(row[0]), changed=False)


def requeue(connection: sqlite3.Connection, clock: Clock, ids: Sequence[str]) -> Sequence[Change]:
    """See `Requeues.requeue`; a key that another holds by its window alone is held, too."""
    now = clock.wall()
    return [_requeue(connection, now, id_) for id_ in ids]


def _requeue(connection: sqlite3.Connection, now: int, id_: str) -> Change:
    row = connection.execute(_LOOK, (id_,)).fetchone()
    if row is None:
        return Change(id_, None, changed=False)
    state, may, queue, key = row
    if not may:
        return Change(id_, Status(state), changed=False)
    if key is not None:
        found = holder(connection, queue, key, now)
        if found is None:
            hold(connection, queue, key, id_, now)
        elif found.id != id_:
            return Change(id_, Status(state), changed=False, holder=found.id)
    connection.execute(_REQUEUE, (now, id_))
    return Change(id_, Status.READY, changed=True)
