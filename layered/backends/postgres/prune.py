"""Prune: what has ended and is past its retention, and what expired unseen."""

from __future__ import annotations

import logging
from functools import partial
from typing import NamedTuple

from layered.backend import Limits
from layered.backends.postgres.arrays import plain
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.notes import micros
from layered.backends.postgres.pool import Pool
from layered.backends.postgres.queries import named

log = logging.getLogger("layered.postgres")

_LEAST = "00000000-0000-0000-0000-000000000000"
OLD = 300.0
"""Seconds after which an open transaction is warned of."""
_STEP = 2000
"""Most rows that one step looks at: a few milliseconds of the server."""
_YOUNG, _STRIP, _DELETE = 0, 2, 3


class _Step(NamedTuple):
    """What one step did: rows changed, where it stopped, whether nothing older is left."""

    changed: int
    cursor: str | None
    last: bool


class Pruner:
    """
    Removes what has ended long ago, in small steps, each a transaction of its own.

    There is no index on ended rows: it would cost every task more than a
    walk over the table. The walk goes in the order of ids, which rise with
    time, and goes on where it stopped the last time.

    Args:
        pool: The connections.
        schema: The schema, quoted.
        limits: Retention.
    """

    __slots__ = ("_after", "_limits", "_pool", "_schema")

    def __init__(self, pool: Pool, schema: str, limits: Limits) -> None:
        self._pool = pool
        self._schema = schema
        self._limits = limits
        self._after: str | None = None

    async def prune(self, limit: int) -> int:
        """See `Backend.prune`."""
        changed = await self._pool.run("read", partial(_sweep, schema=self._schema, limit=limit))
        await self._pool.run("read", partial(_watch, schema=self._schema))
        step = partial(_step, schema=self._schema, limits=self._limits)
        while changed < limit:
            work = partial(step, after=self._after, limit=limit - changed)
            done = await self._pool.run("read", work)
            self._after = done.cursor
            changed += done.changed
            if done.last:
                self._after = None
                break
        return changed


async def _sweep(connection: Connection, schema: str, limit: int) -> int:
    """Make tasks dead that were not started in time; answer how many, at most *limit*."""
    sql = named("prune.sql", schema)
    await connection.execute(sql["forget"])
    return (await connection.execute(sql["sweep"], {"limit": limit})).rowcount


async def _watch(connection: Connection, schema: str) -> None:
    """Warn of a transaction that has been open for long: what has died since stays in the way."""
    cursor = await connection.execute(named("prune.sql", schema)["oldest"], {"seconds": OLD})
    for pid, name, seconds in await cursor.fetchall():
        log.warning(
            "a transaction has been open for %d s (process %d, %r): until it ends, no vacuum can "
            "remove what has ended since, and claims become slower",
            seconds,
            pid,
            name,
        )


async def _step(
    connection: Connection, schema: str, limits: Limits, after: str | None, limit: int
) -> _Step:
    """
    Walk on from *after*, `None` for the first row; strip and remove at most *limit* rows.

    The walk is over where a whole step finds only rows too young to be
    past their retention.
    """
    sql = named("prune.sql", schema)
    values = {
        "least": micros(min(limits.keep_done, limits.keep_dead)),
        "done": micros(limits.keep_done),
        "dead": micros(limits.keep_dead),
        "tombstone": micros(limits.tombstone),
        "after": after or _LEAST,
        "limit": _STEP,
    }
    cursor = await connection.execute(sql["walk"], values)
    rows = await cursor.fetchall()
    last = len(rows) < _STEP or all(due == _YOUNG for _, due in rows)
    strip: list[str] = []
    delete: list[str] = []
    chosen = {_STRIP: strip, _DELETE: delete}
    for id_, due in rows:
        if id_ == after:
            continue
        after = id_
        if due in chosen:
            chosen[due].append(id_)
            if len(strip) + len(delete) == limit:
                last = False
                break
    changed = 0
    for name, ids in (("strip", strip), ("delete", delete)):
        if ids:
            changed += (await connection.execute(sql[name], {"ids": plain(ids)})).rowcount
    return _Step(changed, after, last)
