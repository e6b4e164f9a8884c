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
    for state, *_ in connection.execute(_LOOK, (id_,)).fetchall():
        return Change(id_, Status(state), changed=False)
    return Change(id_, None, changed=False)


def requeue(connection: sqlite3.Connection, clock: Clock, ids: Sequence[str]) -> Sequence[Change]:
    """See `Requeues.requeue`; an open window of its key is no hindrance, and stays."""
    now = clock.wall()
    return [_requeue(connection, now, id_) for id_ in ids]


def _requeue(connection: sqlite3.Connection, now: int, id_: str) -> Change:
    found = connection.execute(_LOOK, (id_,)).fetchall()
    if not found:
        return Change(id_, None, changed=False)
    ((state, may, queue, key),) = found
    if not may:
        return Change(id_, Status(state), changed=False)
    if key is not None:
        other = holder(connection, queue, key, now)
        if other is not None and not other.status.is_terminal:
            return Change(id_, Status(state), changed=False, holder=other.id)
        hold(connection, queue, key, id_, now)
    connection.execute(_REQUEUE, (now, id_))
    return Change(id_, Status.READY, changed=True)
