"""
Reads: records, counts, names.

All rows are taken before the first is looked at: one that cannot be read
would leave the statement open for as long as somebody keeps the error, and
with it the store as it was then, for all later reads.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from layered.backend import Record
from layered.backends.sqlite.notes import failures, metadata_of
from layered.backends.sqlite.queries import named
from layered.task import Status, from_micros

_SQL = named("read.sql")
_FETCH, _IDS, _COUNTS, _NAMES = _SQL["fetch"], _SQL["ids"], _SQL["counts"], _SQL["names"]


def fetch(connection: sqlite3.Connection, ids: Sequence[str]) -> Sequence[Record | None]:
    """See `Backend.fetch`."""
    rows = connection.execute(_FETCH, (json.dumps(ids),)).fetchall()
    found = {row[0]: _record(row) for row in rows}
    return [found.get(each) for each in ids]


def ids(
    connection: sqlite3.Connection, queue: str, name: str, after: str, limit: int
) -> Sequence[str]:
    """See `Lists.list_ids`; looks at the ids of other names in between, too."""
    rows = connection.execute(_IDS, (after, queue, name, limit)).fetchall()
    return [id_ for (id_,) in rows]


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
    (
        id_, queue, name, state, payload, codec, version, metadata, priority, attempt,
        max_attempts, lost, epoch, owner, due_at, created_at, finished_at, result, errors,
    ) = row  # fmt: skip
    return Record(
        id=id_,
        queue=queue,
        name=name,
        status=Status(state),
        payload=payload,
        codec=codec,
        version=version,
        metadata=metadata_of(metadata),
        priority=priority,
        attempt=attempt,
        max_attempts=max_attempts,
        lost=lost,
        epoch=epoch,
        owner=owner,
        due_at=from_micros(due_at),
        created_at=from_micros(created_at),
        finished_at=None if finished_at is None else from_micros(finished_at),
        result=result,
        errors=failures(errors),
    )
