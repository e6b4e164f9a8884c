"""Reads: records, counts, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layered.backend import Record
from layered.backends.postgres.arrays import plain
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.notes import failures, metadata_of
from layered.backends.postgres.queries import named
from layered.task import Status, from_micros

SUMMARY: tuple[str, ...] = (
    "id", "queue", "name", "status", "priority", "attempt", "max_attempts", "lost", "epoch",
    "owner", "due_at", "created_at", "finished_at", "cancel_requested", "dedup_key",
)  # fmt: skip
_REST = ("payload", "codec", "version", "metadata", "result", "errors", "progress")


async def fetch(connection: Connection, schema: str, ids: Sequence[str]) -> Sequence[Record | None]:
    """See `Backend.fetch`."""
    sql = named("read.sql", schema)["fetch"]
    cursor = await connection.execute(sql, {"ids": plain(ids)}, binary=True)
    found = {row[0]: _record(row) for row in await cursor.fetchall()}
    return [found.get(each) for each in ids]


async def counts(
    connection: Connection, schema: str, queue: str
) -> Mapping[str, Mapping[Status, int]]:
    """See `Backend.counts`; looks at every row, tombstones included."""
    cursor = await connection.execute(named("read.sql", schema)["counts"], {"queue": queue})
    found: dict[str, dict[Status, int]] = {}
    for name, state, count in await cursor.fetchall():
        found.setdefault(name, {})[Status(state)] = count
    return found


async def names(connection: Connection, schema: str, queue: str) -> Sequence[str]:
    """See `Backend.names`."""
    cursor = await connection.execute(named("read.sql", schema)["names"], {"queue": queue})
    return [name for (name,) in await cursor.fetchall()]


def summary(row: Sequence[Any]) -> dict[str, Any]:
    """Make the fields of a `Summary` from columns in the order of `SUMMARY`."""
    fields = dict(zip(SUMMARY, row, strict=True))
    fields["status"] = Status(fields["status"])
    for name in ("due_at", "created_at", "finished_at"):
        instant = fields[name]
        fields[name] = from_micros(instant) if isinstance(instant, int) else None
    return fields


def _record(row: Sequence[Any]) -> Record:
    fields = summary(row[: len(SUMMARY)]) | dict(zip(_REST, row[len(SUMMARY) :], strict=True))
    fields["metadata"] = metadata_of(fields["metadata"])
    fields["payload"] = fields["payload"] or b""
    fields["errors"] = failures(fields["errors"])
    return Record(**fields)
