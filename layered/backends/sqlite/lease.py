"""Renew and reap: what becomes of leases."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Sequence
from typing import Any

from layered.backend import Failure, Reaped, Renew, Renewal
from layered.backends.sqlite.clock import Clock, after
from layered.backends.sqlite.notes import failure_text
from layered.backends.sqlite.queries import named
from layered.task import Status

_SQL = named("lease.sql")
_RENEW, _RENEWED = _SQL["renew"], _SQL["renewed"]
_OVERDUE, _REAP = _SQL["overdue"], _SQL["reap"]

_SPREAD = 1.0
"""Seconds over which the tasks of a lost worker come back, for each worker they have lost."""


def renew(
    connection: sqlite3.Connection, clock: Clock, items: Sequence[Renew], lease: float
) -> Sequence[Renewal]:
    """
    See `Backend.renew`.

    Two statements, however many the items: a busy interpreter then takes
    the lock of Python from this thread a few times only, not once an item.
    """
    mono = clock.mono()
    keys = [(fence.id, fence.epoch, fence.claim_id.hex().upper()) for fence, _ in items]
    values = {
        "items": json.dumps([(*key, item.attempt) for key, item in zip(keys, items, strict=True)]),
        "mono": mono,
        "until": after(mono, lease),
        "lease": int(lease * 1e6),
    }
    connection.execute(_RENEW, values)
    ((renewed,),) = connection.execute(_RENEWED, {"items": values["items"], "mono": mono})
    wanted = {tuple(key): bool(cancel) for *key, cancel in json.loads(renewed)}
    answers = {None: Renewal.STALE, False: Renewal.OK, True: Renewal.CANCEL}
    return [answers[wanted.get(key)] for key in keys]


def reap(connection: sqlite3.Connection, clock: Clock, limit: int) -> Sequence[Reaped]:
    """
    See `Backend.reap`.

    The longest overdue come first. A task comes back after up to 1 s for
    each worker that it has lost, so that a crowd of them, or the one that
    kills its workers, does not come back at once.
    """
    now = clock.wall()
    rows = connection.execute(_OVERDUE, {"mono": clock.mono(), "limit": limit}).fetchall()
    return [_reap(connection, now, row) for row in rows]


def _reap(connection: sqlite3.Connection, now: int, row: tuple[Any, ...]) -> Reaped:
    seq, id_, name, owner, attempt, max_attempts, lost, max_lost, cancel = row
    lost += 1
    status = Status.RETRY
    if cancel:
        status = Status.CANCELLED
    elif lost >= max_lost or (max_attempts is not None and attempt >= max_attempts):
        status = Status.DEAD
    failure = Failure("worker_lost", f"lost worker {owner} ({lost} of {max_lost})")
    connection.execute(
        _REAP,
        {
            "seq": seq,
            "state": int(status),
            "lost": lost,
            "now": now,
            "due": after(now, random.uniform(0.0, _SPREAD * lost)),  # noqa: S311 - spreads load
            "failure": failure_text(failure),
        },
    )
    return Reaped(id_, name, status)
