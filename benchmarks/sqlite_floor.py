"""A task table written by hand for `sqlite3`: what `SqliteStorage` is compared with."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import TypeAlias
from uuid import uuid4

import msgspec

from benchmarks.mail import Mail

SCHEMA = """
CREATE TABLE task (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL DEFAULT 0,
    payload BLOB NOT NULL, result BLOB
);
CREATE INDEX ready ON task (seq) WHERE state = 0;
"""
INSERT = "INSERT INTO task (id, payload) VALUES (?, ?)"
CLAIM = """
UPDATE task SET state = 1
WHERE seq IN (SELECT seq FROM task WHERE state = 0 ORDER BY seq LIMIT ?)
RETURNING seq, payload
"""
END = "UPDATE task SET state = 2, result = ? WHERE seq = ?"

Claim: TypeAlias = tuple[int, Mail]

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Mail).decode


class Floor:
    """
    One connection, used in the caller's thread, each operation a commit on the disk.

    It has the journal and the durability of `SqliteStorage`, and neither
    leases nor delays, priorities, attempts or a thread.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._connection = connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(SCHEMA)

    def push(self, mails: Sequence[Mail]) -> None:
        """Store tasks in one commit."""
        self._write(INSERT, [(str(uuid4()), encode(mail)) for mail in mails])

    def claim(self, most: int) -> list[Claim]:
        """Take tasks."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(CLAIM, (most,)).fetchall()
        connection.execute("COMMIT")
        return [(seq, decode(payload)) for seq, payload in rows]

    def end(self, results: Sequence[tuple[int, object]]) -> None:
        """Keep the results in one commit."""
        self._write(END, [(encode(result), seq) for seq, result in results])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(statement, rows)
        self._connection.execute("COMMIT")
