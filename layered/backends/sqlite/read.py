"""
Reads: records, pages, counts, names.

All rows are taken before the first is looked at: one that cannot be read
would leave the statement open for as long as somebody keeps the error, and
with it the store as it was then, for all later reads.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from layered.backend import SCANNED, Filter, Page, Record, Summary
from layered.backends.sqlite.notes import failures, metadata_of
from layered.backends.sqlite.queries import named
from layered.task import Status, from_micros, to_micros

_SQL = named("read.sql")
_FETCH, _COUNTS, _NAMES = _SQL["fetch"], _SQL["counts"], _SQL["names"]
_FLOOR, _PAGE = _SQL["floor"], _SQL["page"]

_ALL = b""
"""Greater than any id: for SQLite a blob is greater than all text."""


def fetch(connection: sqlite3.Connection, ids: Sequence[str]) -> Sequence[Record | None]:
    """See `Backend.fetch`."""
    rows = connection.execute(_FETCH, (json.dumps(ids),)).fetchall()
    found = {row[0]: _record(row) for row in rows}
    return [found.get(each) for each in ids]


def page(connection: sqlite3.Connection, wanted: Filter, after: str | None, limit: int) -> Page:
    """See `Lists.page`."""
    start = _ALL if after is None else after
    found = connection.execute(_FLOOR, (start, max(SCANNED, limit) - 1)).fetchall()
    floor: str | None = found[0][0] if found else None
    values = {
        "floor": floor or "",
        "after": start,
        "queue": wanted.queue,
        "names": _listed(wanted.names),
        "states": _listed(wanted.statuses),
        "since": None if wanted.since is None else to_micros(wanted.since),
        "until": None if wanted.until is None else to_micros(wanted.until),
        "error": wanted.error,
        "limit": limit + 1,
    }
    rows = connection.execute(_PAGE, values).fetchall()
    tasks = [Summary(**_summary(row)) for row in rows[:limit]]
    return Page(tasks, tasks[-1].id if len(rows) > limit else floor)


def _listed(choice: Collection[Any]) -> str | None:
    return json.dumps([*choice]) if choice else None


def counts(connection: sqlite3.Connection, queue: str) -> Mapping[str, Mapping[Status, int]]:
    """See `Backend.counts`; looks at every row, tombstones included."""
    found: dict[str, dict[Status, int]] = {}
    for name, state, count in connection.execute(_COUNTS, (queue,)).fetchall():
        found.setdefault(name, {})[Status(state)] = count
    return found


def names(connection: sqlite3.Connection, queue: str) -> Sequence[str]:
    """See `Backend.names`."""
    return [name for (name,) in connection.execute(_NAMES, (queue, queue))]


def _record(row: tuple[Any, ...]) -> Record:
    payload, codec, version, metadata, result, errors, progress = row[15:]
    return Record(
        **_summary(row[:15]),
        payload=payload,
        codec=codec,
        version=version,
        metadata=metadata_of(metadata),
        result=result,
        errors=failures(errors),
        progress=progress,
    )


def _summary(row: tuple[Any, ...]) -> dict[str, Any]:
    (
        id_, queue, name, state, priority, attempt, max_attempts, lost, epoch, owner, due_at,
        created_at, finished_at, cancel_requested, dedup_key,
    ) = row  # fmt: skip
    return {
        "id": id_,
        "queue": queue,
        "name": name,
        "status": Status(state),
        "priority": priority,
        "attempt": attempt,
        "max_attempts": max_attempts,
        "lost": lost,
        "epoch": epoch,
        "owner": owner,
        "due_at": from_micros(due_at),
        "created_at": from_micros(created_at),
        "finished_at": None if finished_at is None else from_micros(finished_at),
        "cancel_requested": bool(cancel_requested),
        "dedup_key": dedup_key,
    }
