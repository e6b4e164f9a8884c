"""Insert: what is pushed, idempotent by id."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from layered.backend import Pushed
from layered.backends.sqlite.clock import Clock, after
from layered.backends.sqlite.notes import metadata_text
from layered.backends.sqlite.queries import named
from layered.task import Draft, Status, to_micros

_SQL = named("push.sql")
_INSERT, _STATE = _SQL["insert"], _SQL["state"]
_READY, _SCHEDULED = int(Status.READY), int(Status.SCHEDULED)


def insert(
    connection: sqlite3.Connection, clock: Clock, drafts: Sequence[Draft]
) -> Sequence[Pushed]:
    """See `Backend.insert`."""
    now = clock.wall()
    return [_insert(connection, draft, now) for draft in drafts]


def _insert(connection: sqlite3.Connection, draft: Draft, now: int) -> Pushed:
    if connection.execute(_INSERT, _row(draft, now)).rowcount:
        return Pushed(draft.id)
    ((state,),) = connection.execute(_STATE, (draft.id,))
    return Pushed(draft.id, Status(state))


def _row(draft: Draft, now: int) -> tuple[str | int | bytes | None, ...]:
    due = after(now, draft.delay) if draft.at is None else to_micros(draft.at)
    return (
        draft.id,
        draft.queue,
        draft.name,
        _READY if due <= now else _SCHEDULED,
        draft.priority,
        due,
        now,
        to_micros(draft.expires_at) if draft.expires_at is not None else None,
        draft.max_attempts,
        draft.max_lost,
        draft.dedup_key,
        draft.run_id,
        draft.step,
        draft.codec,
        draft.version,
        metadata_text(draft.metadata),
        draft.payload,
        draft.on_end,
    )
