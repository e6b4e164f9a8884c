"""Claim: promote what is due, take the best of the wanted names, lease them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from heapq import merge
from itertools import islice
from secrets import token_bytes
from typing import Any, TypeAlias

from layered.backend import Claimant, Claimed, Failure
from layered.backends.sqlite.clock import Clock, after
from layered.backends.sqlite.notes import failure_text, metadata_of
from layered.backends.sqlite.queries import named
from layered.backends.sqlite.queues import held_up
from layered.task import Fence, Lease, from_micros

_SQL = named("claim.sql")
_NEXT_DUE, _PROMOTE, _PICK = _SQL["next_due"], _SQL["promote"], _SQL["pick"]
_START, _EXPIRE = _SQL["start"], _SQL["expire"]

_Row: TypeAlias = tuple[Any, ...]  # as `pick` selects it


def claim(
    connection: sqlite3.Connection,
    clock: Clock,
    claimant: Claimant,
    wanted: Mapping[str, int],
    most: int,
) -> Claimed:
    """See `Backend.claim`; it looks at no more than twice *most* ready rows."""
    now, queue = clock.wall(), claimant.queue
    if (paused := held_up(connection, queue, now)) is not None:
        return paused
    left = {name: limit for name, limit in wanted.items() if limit > 0}
    due = _promote(connection, queue, left, now, most)
    leases: list[Lease] = []
    stopped = False
    # Expired rows take the place of others, so there is a second look, and no third.
    for _ in range(2):
        picked = _pick(connection, queue, left, most - len(leases))
        live = [row for row in picked if row[4] is None or row[4] > now]
        if live:
            leases += _start(connection, clock.mono(), claimant, live)
        if stopped := len(live) < len(picked):
            expire(connection, now, [row[3:5] for row in picked if row not in live])
            for row in live:
                left[row[6]] -= 1
        else:
            break
    next_due_in = None if due is None else max(due - now, 0) / 1e6
    return Claimed(leases, len(leases) == most or stopped or next_due_in == 0.0, next_due_in)


def expire(connection: sqlite3.Connection, now: int, rows: Sequence[_Row]) -> None:
    """End rows (seq, expires_at) that were not started in time."""
    for seq, at in rows:
        failure = Failure("expired", f"not started by {from_micros(at)}")
        connection.execute(_EXPIRE, (now, failure_text(failure), seq))


def _promote(
    connection: sqlite3.Connection, queue: str, names: Mapping[str, int], now: int, most: int
) -> int | None:
    """Make due rows ready, at most *most* of each name; answer the next due time."""
    wanted = json.dumps([*names])
    ((due,),) = connection.execute(_NEXT_DUE, (queue, wanted))
    if due is not None and due <= now:
        connection.executemany(_PROMOTE, [(queue, name, now, most) for name in names])
        ((due,),) = connection.execute(_NEXT_DUE, (queue, wanted))
    return due if due is None else int(due)


def _pick(
    connection: sqlite3.Connection, queue: str, names: Mapping[str, int], most: int
) -> list[_Row]:
    """Read the best rows; of several names only as many rows as are taken, and one more each."""
    cursors = [
        connection.execute(_PICK, (queue, name, min(limit, most))) for name, limit in names.items()
    ]
    if len(cursors) == 1:
        return cursors[0].fetchall()
    try:
        return list(islice(merge(*cursors), most))
    finally:  # an error's traceback would keep them open, and with them the store as it was
        for cursor in cursors:
            cursor.close()


def _start(
    connection: sqlite3.Connection, mono: int, claimant: Claimant, rows: Sequence[_Row]
) -> list[Lease]:
    claim_id = token_bytes(16)
    connection.execute(
        _START,
        (
            claim_id,
            claimant.owner,
            int(claimant.lease * 1e6),
            after(mono, claimant.lease),
            None if claimant.max_run is None else after(mono, claimant.max_run),
            json.dumps([row[3] for row in rows]),
        ),
    )
    queue = claimant.queue
    return [
        Lease(
            Fence(id_, epoch + 1, claim_id),
            queue,
            name,
            payload,
            codec,
            version,
            metadata_of(metadata),
            -rank,
            attempt + 1,
            max_attempts,
            lost,
            due,
            created,
        )
        for (
            rank, due, id_, _, _, epoch, name, payload, codec, version, metadata,
            attempt, max_attempts, lost, created,
        ) in rows
    ]  # fmt: skip
