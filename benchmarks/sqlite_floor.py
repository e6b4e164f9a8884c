"""
A task table written by hand for `sqlite3`: what `SqliteStorage` is compared with.

It keeps what a stored task is made of, reads the columns that a claim of
ours answers, decodes the arguments, and at the end writes the result, the
state and the time: each step one commit, as durable as ours.

It leaves out: leases and the fence (claim_id, owner, lease, lease_until,
run_deadline, the epoch's rise, settled_claim, settled_op, and the look at
them in each write), the order by priority and due time, several queues and
names, delays, expiry, the answer to an id pushed twice, three indexes, the
thread and the event loop.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from benchmarks.mail import Mail
from layered.task import new_id

SCHEMA = """
CREATE TABLE task (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, name TEXT NOT NULL,
    state INTEGER NOT NULL, priority INTEGER NOT NULL, due_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER, finished_at INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0, max_attempts INTEGER, lost INTEGER NOT NULL DEFAULT 0,
    max_lost INTEGER NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, codec TEXT NOT NULL,
    version INTEGER NOT NULL, metadata TEXT, payload BLOB NOT NULL, result BLOB
);
CREATE INDEX ready ON task (seq) WHERE state = 3;
"""
INSERT = """
INSERT INTO task (
    id, queue, name, state, priority, due_at, created_at, expires_at, max_attempts, max_lost,
    codec, version, metadata, payload
) VALUES (?, 'default', 'Mail', 3, 5, ?, ?, NULL, NULL, 3, 'json', 1, NULL, ?)
"""
CLAIM = """
UPDATE task SET state = 4, attempt = attempt + 1
WHERE seq IN (SELECT seq FROM task WHERE state = 3 ORDER BY seq LIMIT ?)
RETURNING
    seq, id, name, payload, codec, version, metadata, priority, due_at, expires_at, epoch,
    attempt, max_attempts, lost, created_at
"""
END = "UPDATE task SET state = 5, result = ?, finished_at = ? WHERE seq = ?"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Mail).decode


class Row(NamedTuple):
    """A claimed task; `payload` and `metadata` are decoded."""

    seq: int
    id: str
    name: str
    payload: Mail
    codec: str
    version: int
    metadata: dict[str, str]
    priority: int
    due_at: int
    expires_at: int | None
    epoch: int
    attempt: int
    max_attempts: int | None
    lost: int
    created_at: int


class Floor:
    """One connection, used in the caller's thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.connection = connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA cache_size = -16384")
        connection.executescript(SCHEMA)
        self._level = ""

    def push(self, mails: Sequence[Mail]) -> None:
        """Store tasks in one commit."""
        now = time.time_ns() // 1000
        self._write(INSERT, [(new_id(), now, now, encode(mail)) for mail in mails])

    def claim(self, most: int) -> list[Row]:
        """Take tasks; as with ours, a loss of power may undo it."""
        self._sync("NORMAL")
        self.connection.execute("BEGIN IMMEDIATE")
        rows = self.connection.execute(CLAIM, (most,)).fetchall()
        self.connection.execute("COMMIT")
        return [
            Row(
                seq, id_, name, decode(payload), codec, version,
                json.loads(metadata) if metadata else {}, *rest,
            )
            for seq, id_, name, payload, codec, version, metadata, *rest in rows
        ]  # fmt: skip

    def end(self, results: Sequence[tuple[int, object]]) -> None:
        """Keep the results in one commit."""
        now = time.time_ns() // 1000
        self._write(END, [(encode(result), now, seq) for seq, result in results])

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._sync("FULL")
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(statement, rows)
        self.connection.execute("COMMIT")

    def _sync(self, level: str) -> None:
        if level != self._level:
            self.connection.execute(f"PRAGMA synchronous = {level}")
            self._level = level
