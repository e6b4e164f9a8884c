"""Prune: what has ended and is past its retention, and what expired unseen."""

from __future__ import annotations

from typing import NamedTuple

from layered.backend import Limits
from layered.backends.postgres.arrays import plain
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.notes import micros
from layered.backends.postgres.queries import named

START = "00000000-0000-0000-0000-000000000000"
_STEP = 2000
"""Most rows that one step looks at: a few milliseconds of the server."""
_YOUNG, _STRIP, _DELETE = 0, 2, 3


class Step(NamedTuple):
    """What one step did: rows changed, where it stopped, whether nothing older is left."""

    changed: int
    cursor: str
    last: bool


async def sweep(connection: Connection, schema: str, limit: int) -> int:
    """Make tasks dead that were not started in time; answer how many, at most *limit*."""
    sql = named("prune.sql", schema)
    await connection.execute(sql["forget"])
    return (await connection.execute(sql["sweep"], {"limit": limit})).rowcount


async def step(connection: Connection, schema: str, limits: Limits, after: str, limit: int) -> Step:
    """
    Walk on from *after* in the order of ids; strip and remove at most *limit* rows.

    There is no index on ended rows: it would cost every task more than
    this walk. Ids rise with time, so it is over where a whole step finds
    only rows too young to be past their retention.
    """
    sql = named("prune.sql", schema)
    values = {
        "least": micros(min(limits.keep_done, limits.keep_dead)),
        "done": micros(limits.keep_done),
        "dead": micros(limits.keep_dead),
        "tombstone": micros(limits.tombstone),
        "after": after,
        "limit": _STEP,
    }
    cursor = await connection.execute(sql["walk"], values)
    rows = await cursor.fetchall()
    strip: list[str] = []
    delete: list[str] = []
    chosen = {_STRIP: strip, _DELETE: delete}
    for id_, due in rows:
        after = id_
        if due in chosen:
            chosen[due].append(id_)
            if len(strip) + len(delete) == limit:
                break
    changed = 0
    for name, ids in (("strip", strip), ("delete", delete)):
        if ids:
            changed += (await connection.execute(sql[name], {"ids": plain(ids)})).rowcount
    last = len(rows) < _STEP or all(due == _YOUNG for _, due in rows)
    return Step(changed, after, last)
