"""Dedup: one live task of a queue for each key. A key is freed when somebody asks for it."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from layered.backends.sqlite.queries import named
from layered.task import Status

_SQL = named("dedup.sql")
_HOLDER, _HOLD = _SQL["holder"], _SQL["hold"]


class Holder(NamedTuple):
    """The task that holds a key, live, or ended within the key's window."""

    id: str
    status: Status


def holder(connection: sqlite3.Connection, queue: str, key: str, now: int) -> Holder | None:
    """Tell who holds a key; `None` if it is free."""
    for id_, state in connection.execute(_HOLDER, (queue, key, now)).fetchall():
        return Holder(id_, Status(state))
    return None


def hold(connection: sqlite3.Connection, queue: str, key: str, task: str, until: int) -> None:
    """Give a key to a task, whoever has it; it is not free before *until*."""
    connection.execute(_HOLD, (queue, key, task, until))
