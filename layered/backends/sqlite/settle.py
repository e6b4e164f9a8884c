"""Settle and release: how runs end, each by its fence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from layered.backend import (
    ALREADY,
    APPLIED,
    STALE,
    Answer,
    Dead,
    Done,
    Release,
    Retry,
    Settle,
)
from layered.backends.sqlite.clock import Clock, after
from layered.backends.sqlite.notes import failure_text
from layered.backends.sqlite.queries import named
from layered.task import Fence, Status

T = TypeVar("T")

_SQL = named("settle.sql")
_DONE, _ALL_DONE, _SETTLED = _SQL["done"], _SQL["all_done"], _SQL["settled"]
_DEAD, _CANCELLED = _SQL["dead"], _SQL["cancelled"]
_RETRY, _RELEASE = _SQL["retry"], _SQL["release"]


_CHUNK = 128
"""Most runs that one statement ends; a power of two."""


def settle(
    connection: sqlite3.Connection, clock: Clock, items: Sequence[Settle]
) -> Sequence[Answer]:
    """
    See `Backend.settle`.

    Done runs, nearly all of them, are written by one call; only if not all
    of them were is it undone, and each written and looked at by itself.
    """
    now = clock.wall()
    answers: dict[int, Answer] = {}
    done = [at for at, item in enumerate(items) if isinstance(item.ending, Done)]
    if len(done) > 1 and _all_done(connection, now, [items[at] for at in done]):
        answers = dict.fromkeys(done, APPLIED[Status.DONE])
    return [
        answers[at] if at in answers else settle_one(connection, now, item)
        for at, item in enumerate(items)
    ]


def _all_done(connection: sqlite3.Connection, now: int, items: Sequence[Settle]) -> bool:
    rows = [
        (ending.result, attempt, now, *fence)
        for fence, ending, attempt in items
        if isinstance(ending, Done)
    ]
    rows.sort(key=itemgetter(3))  # by id: rows of one push lie together
    connection.execute("SAVEPOINT done")
    applied = all(
        connection.execute(_all_done_sql(len(chunk)), [*chain.from_iterable(chunk)]).rowcount
        == len(chunk)
        for chunk in _chunks(rows)
    )
    if not applied:
        connection.execute("ROLLBACK TO done")
    connection.execute("RELEASE done")
    return applied


@cache
def _all_done_sql(count: int) -> str:
    return _ALL_DONE.replace("{rows}", ", ".join(["(?, ?, ?, ?, ?, ?)"] * count))


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """
    Cut *rows* in lengths that are powers of two, so that few statements have to be compiled.

    One step of SQLite for many rows is faster, and above all lets go of
    Python's lock once, not once a row: busy threads take long to give it back.
    """
    start = 0
    while start < len(rows):
        size = min(_CHUNK, 1 << (len(rows) - start).bit_length() - 1)
        yield rows[start : start + size]
        start += size


def settle_one(connection: sqlite3.Connection, now: int, item: Settle) -> Answer:
    """Settle one run."""
    fence, ending, attempt = item
    if isinstance(ending, Retry):
        return _retry(connection, now, item, ending)
    if isinstance(ending, Done):
        status, statement = Status.DONE, _DONE
        first: tuple[str | bytes | None, ...] = (ending.result,)
    elif isinstance(ending, Dead):
        status, statement, first = Status.DEAD, _DEAD, (failure_text(ending.failure),)
    else:
        status, statement, first = Status.CANCELLED, _CANCELLED, ()
    if connection.execute(statement, (*first, attempt, now, *fence)).rowcount:
        return APPLIED[status]
    return _refused(connection, fence, status.label)


def _retry(connection: sqlite3.Connection, now: int, item: Settle, ending: Retry) -> Answer:
    found = connection.execute(
        _RETRY,
        {
            **_fence(item.fence),
            "attempt": item.attempt,
            "now": now,
            "due": after(now, ending.delay),
            "failure": failure_text(ending.failure),
        },
    ).fetchall()
    return APPLIED[Status(found[0][0])] if found else _refused(connection, item.fence, "retry")


def release(
    connection: sqlite3.Connection, clock: Clock, items: Sequence[Release]
) -> Sequence[Answer]:
    """See `Backend.release`."""
    now = clock.wall()
    return [_release(connection, now, item) for item in items]


def _release(connection: sqlite3.Connection, now: int, item: Release) -> Answer:
    found = connection.execute(
        _RELEASE,
        {
            **_fence(item.fence),
            "attempt": item.attempt,
            "now": now,
            "delayed": item.delay > 0,
            "due": after(now, item.delay),
        },
    ).fetchall()
    return APPLIED[Status(found[0][0])] if found else _refused(connection, item.fence, "release")


def _fence(fence: Fence) -> dict[str, str | int | bytes | float]:
    return {"id": fence.id, "epoch": fence.epoch, "claim": fence.claim_id}


def _refused(connection: sqlite3.Connection, fence: Fence, operation: str) -> Answer:
    """Tell whether the same write was applied before."""
    found = connection.execute(_SETTLED, (fence.id, fence.claim_id, operation)).fetchall()
    return ALREADY[Status(found[0][0])] if found else STALE
