"""Stores of SQLite with a backlog of one kind, made by one statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from layered.backends.sqlite import connection

NOW, MONO = 1_700_000_000.0, 5_000.0
"""What the clocks show, in seconds; a lease of a lost worker has ended by then."""


class Backlog(NamedTuple):
    """
    The tasks of a backlog; *i* counts them.

    Args:
        state: SQL for the state of task *i*.
        name: SQL for its name; "a" and "b" are those that claims want.
        due: Whether a claim finds tasks.
        later: Whether it does when what is scheduled has come due.
        ended: Whether the oldest tasks have ended.
        expires: SQL for the instant after which it must not start.
    """

    state: str
    name: str
    due: bool
    later: bool
    ended: bool = False
    expires: str = "NULL"


BACKLOGS: Mapping[str, Backlog] = {
    "all due": Backlog("3", "'a'", due=True, later=True),
    "all scheduled": Backlog("1", "'a'", due=False, later=True),
    "all of an unregistered name": Backlog("3", "'foreign'", due=False, later=False),
    "mixed": Backlog(
        """CASE WHEN i > 2000 AND i <= 2200 THEN 4 WHEN i % 8 IN (2, 3) THEN i % 8 - 1
        WHEN i % 8 >= 5 THEN i % 8 ELSE 3 END""",
        "CASE i % 8 WHEN 4 THEN 'foreign' WHEN 1 THEN 'b' ELSE 'a' END",
        due=True,
        later=True,
        ended=True,
        expires="iif(i % 16 = 0, :now + 100000000000000, NULL)",
    ),
    "mostly finished": Backlog("iif(i % 100 = 0, 3, 5)", "'a'", due=True, later=True, ended=True),
    "all lost or expired": Backlog(
        "iif(i % 2, 4, 3)", "'a'", due=False, later=False, expires=":now - 1000000"
    ),
}

_FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :size)
INSERT INTO task (
    id, queue, name, state, priority, due_at, created_at, expires_at, finished_at, attempt, epoch,
    claim_id, owner, lease, lease_until, settled_claim, settled_op, dedup_key, max_lost, codec,
    version, payload, result
)
SELECT
    printf('018bcfe5-6800-7000-8000-%012x', i), 'default', name, state, i % 10,
    :now - :size + i + iif(state < 3, 1000000000000, 0), :now - :size,
    expires, iif(state > 4, :now - :size, NULL), ran, ran,
    iif(ran, randomblob(16), NULL), iif(ran, 'worker', NULL), iif(ran, 30000000, NULL),
    iif(ran, i, NULL), iif(state > 4, x'01', NULL), iif(state > 4, 'done', NULL),
    iif(i % 3, NULL, printf('key %012x', i)), 3, 'json', 1, x'31', iif(state = 5, x'31', NULL)
FROM (SELECT i, {state} AS state, {name} AS name, {state} >= 4 AS ran, {expires} AS expires FROM n)
"""
_BESIDE = (
    "INSERT INTO dedup SELECT queue, dedup_key, id, 0 FROM task WHERE dedup_key IS NOT NULL",
    "INSERT INTO checkpoint SELECT id, 'step', x'31' FROM task WHERE epoch > 0 AND seq % 3 = 0",
)
"""Every third task has a key and, if it ran, a checkpoint."""


def make(path: Path, kind: str, size: int) -> None:
    """Make a store with *size* tasks, in some 2 seconds for a million."""
    connection.prepare(str(path))
    backlog = BACKLOGS[kind]
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000"):
            database.execute(f"PRAGMA {pragma}")
        database.execute(
            _FILL.format(state=backlog.state, name=backlog.name, expires=backlog.expires),
            {"size": size, "now": int(NOW * 1e6)},
        )
        for statement in _BESIDE:
            database.execute(statement)


@contextmanager
def made(folder: Path, kind: str, size: int) -> Iterator[Path]:
    """Make a store, and remove it in the end."""
    path = folder / f"{kind} {size}.db"
    make(path, kind, size)
    try:
        yield path
    finally:
        path.unlink()
