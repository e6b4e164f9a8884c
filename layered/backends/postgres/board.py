"""What can be seen and steered from outside: queues, workers, holders of keys, pages of tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from layered.backend import SCANNED, Beat, Filter, Page, Queue, Sighting, Summary
from layered.backends.postgres.arrays import Texts, plain
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.notes import micros
from layered.backends.postgres.queries import named
from layered.backends.postgres.read import summary
from layered.task import from_micros, to_micros

_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


async def register(connection: Connection, schema: str, queue: str) -> None:
    """Note that a storage was opened for a queue."""
    await connection.execute(named("board.sql", schema)["register"], {"queue": queue})


async def queues(connection: Connection, schema: str) -> Sequence[Queue]:
    """See `Pauses.queues`."""
    cursor = await connection.execute(named("board.sql", schema)["queues"])
    return [
        Queue(name, paused, from_micros(until) if paused and until is not None else None)
        for name, paused, until in await cursor.fetchall()
    ]


async def pause(connection: Connection, schema: str, queue: str, until: datetime | None) -> None:
    """See `Pauses.pause`."""
    values = {"queue": queue, "until": None if until is None else to_micros(until)}
    await connection.execute(named("board.sql", schema)["pause"], values)


async def resume(connection: Connection, schema: str, queue: str) -> None:
    """See `Pauses.resume`."""
    await connection.execute(named("board.sql", schema)["resume"], {"queue": queue})


async def beat(connection: Connection, schema: str, beat: Beat) -> None:
    """See `Sees.beat`."""
    values = {**beat._asdict(), "every": micros(beat.every)}
    await connection.execute(named("board.sql", schema)["beat"], values)


async def leave(connection: Connection, schema: str, owner: str) -> None:
    """See `Sees.leave`."""
    await connection.execute(named("board.sql", schema)["leave"], {"owner": owner})


async def workers(connection: Connection, schema: str) -> Sequence[Sighting]:
    """See `Sees.workers`."""
    cursor = await connection.execute(named("board.sql", schema)["workers"])
    return [
        Sighting(owner, queue, bytes(about), from_micros(seen_at), alive)
        for owner, queue, about, seen_at, alive in await cursor.fetchall()
    ]


async def holder(connection: Connection, schema: str, queue: str, key: str) -> str | None:
    """See `Dedups.holder`."""
    values = {"queue": queue, "key": key}
    cursor = await connection.execute(named("board.sql", schema)["holder"], values)
    for (id_,) in await cursor.fetchall():
        return str(id_)
    return None


async def page(
    connection: Connection, schema: str, wanted: Filter, after: str | None, limit: int
) -> Page:
    """See `Lists.page`."""
    values = {
        "after": after or _LAST,
        "scanned": max(SCANNED, limit),
        "limit": limit + 1,
        "queue": wanted.queue,
        "names": Texts.of(wanted.names) if wanted.names else None,
        "states": plain(map(int, wanted.statuses)) if wanted.statuses else None,
        "since": None if wanted.since is None else to_micros(wanted.since),
        "until": None if wanted.until is None else to_micros(wanted.until),
        # As `failure_text` and the statements write it: a list, the type first.
        "error": None if wanted.error is None else f"[{json.dumps(wanted.error)}, ",
    }
    cursor = await connection.execute(named("board.sql", schema)["page"], values)
    rows = await cursor.fetchall()
    floor: str | None = rows[0][0]
    found = [row[1:] for row in rows if row[1] is not None]
    tasks = [Summary(**summary(row)) for row in found[:limit]]
    return Page(tasks, tasks[-1].id if len(found) > limit else floor)
