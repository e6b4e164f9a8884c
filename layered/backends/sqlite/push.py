"""Insert: what is pushed, idempotent by id and by dedup key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from layered.backend import Pushed
from layered.backends.sqlite.clock import Clock, after
from layered.backends.sqlite.dedup import Holder, hold, holder
from layered.backends.sqlite.notes import metadata_text
from layered.backends.sqlite.queries import named
from layered.errors import Conflict
from layered.task import Dedup, Draft, OnConflict, Status, to_micros

_SQL = named("push.sql")
_INSERT, _STATE, _REPLACE = _SQL["insert"], _SQL["state"], _SQL["replace"]
_READY, _SCHEDULED = int(Status.READY), int(Status.SCHEDULED)


def insert(
    connection: sqlite3.Connection, clock: Clock, drafts: Sequence[Draft]
) -> Sequence[Pushed]:
    """See `Backend.insert`."""
    now = clock.wall()
    return [_insert(connection, draft, now) for draft in drafts]


def _insert(connection: sqlite3.Connection, draft: Draft, now: int) -> Pushed:
    # A push that is repeated is answered by its id, whoever holds the key by now.
    if draft.dedup is not None and not connection.execute(_STATE, (draft.id,)).fetchall():
        found = holder(connection, draft.queue, draft.dedup.key, now)
        if found is not None:
            return _met(connection, draft, draft.dedup, now, found)
        hold(connection, draft.queue, draft.dedup.key, draft.id, after(now, draft.dedup.window))
    if connection.execute(_INSERT, _row(draft, now)).rowcount:
        return Pushed(draft.id)
    ((state,),) = connection.execute(_STATE, (draft.id,))
    return Pushed(draft.id, Status(state))


def _met(
    connection: sqlite3.Connection, draft: Draft, dedup: Dedup, now: int, found: Holder
) -> Pushed:
    """Do what a draft says whose key is held."""
    if dedup.on_conflict is OnConflict.REJECT:
        msg = (
            f"pushing task {draft.name!r} to queue {draft.queue!r}: task {found.id} "
            f"({found.status.label}) holds its dedup key {dedup.key!r}; nothing was stored; "
            "wait for its end, or push with OnConflict.KEEP or REPLACE"
        )
        raise Conflict(msg)
    if dedup.on_conflict is OnConflict.REPLACE:
        state, due = _start(draft, now)
        values = (
            draft.name,
            state,
            draft.priority,
            due,
            _expiry(draft),
            draft.codec,
            draft.version,
            metadata_text(draft.metadata),
            draft.payload,
            found.id,
        )
        if connection.execute(_REPLACE, values).rowcount:
            hold(connection, draft.queue, dedup.key, found.id, after(now, dedup.window))
            return Pushed(found.id, Status(state), replaced=True)
    return Pushed(found.id, found.status)


def _start(draft: Draft, now: int) -> tuple[int, int]:
    """Answer the first state, and the due time."""
    due = after(now, draft.delay) if draft.at is None else to_micros(draft.at)
    return _READY if due <= now else _SCHEDULED, due


def _expiry(draft: Draft) -> int | None:
    return None if draft.expires_at is None else to_micros(draft.expires_at)


def _row(draft: Draft, now: int) -> tuple[str | int | bytes | None, ...]:
    state, due = _start(draft, now)
    return (
        draft.id,
        draft.queue,
        draft.name,
        state,
        draft.priority,
        due,
        now,
        _expiry(draft),
        draft.max_attempts,
        draft.max_lost,
        None if draft.dedup is None else draft.dedup.key,
        draft.run_id,
        draft.step,
        draft.codec,
        draft.version,
        metadata_text(draft.metadata),
        draft.payload,
        draft.on_end,
    )
