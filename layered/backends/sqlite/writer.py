"""
The writer and the reader of a storage.

The writer commits in groups without a timer: a flush takes what arrived
during the one before, so a lone write waits for nobody and a crowd shares
one sync of the disk.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from layered.backends.sqlite.connection import BUSY
from layered.backends.sqlite.faults import FAILURES, translate
from layered.backends.sqlite.job import EffectRaised, Job
from layered.backends.sqlite.lane import Lane
from layered.errors import Fatal

_WAY_OUT = "nothing was stored; put it back, or close the storage and open it again"


class Writer(Lane):
    """
    Does writes, each in a savepoint of a transaction that it may share with others.

    One that fails is undone alone. Where SQLite gives up the whole
    transaction (full disk, failed commit), each is done again by itself,
    so that only those that cannot be stored fail.
    """

    _durable = True
    _file: tuple[int, int] | None = None

    def serve(self, connection: sqlite3.Connection, jobs: Sequence[Job[Any]]) -> None:
        """Commit *jobs*, in order, in as few transactions as may be."""
        for group in _groups(jobs):
            if len(group) == 1 or not self._commit_all(connection, group):
                for job in group:
                    self._commit(connection, job)

    def _connected(self, jobs: Sequence[Job[Any]]) -> sqlite3.Connection | None:
        """
        See `Lane`; refuse if the file at the path is no longer the one that was opened.

        SQLite would go on writing to a file that nobody can open any more:
        every write would be accepted, and lost. To connect again would make
        another.
        """
        if self._file is None and super()._connected(jobs) is None:
            return None
        if problem := self._misplaced():
            for job in jobs:
                job.error = Fatal(problem)
            return None
        return super()._connected(jobs)

    def _misplaced(self) -> str | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - once a commit, at a third of the time
        except OSError as error:
            return f"writing to {self.path!r}: the file was removed ({error.strerror}); {_WAY_OUT}"
        self._file = self._file or (found.st_dev, found.st_ino)
        if self._file != (found.st_dev, found.st_ino):
            return f"writing to {self.path!r}: another file is there by now; {_WAY_OUT}"
        return None

    def disconnect(self) -> None:
        """See `Lane.disconnect`; a new connection is durable again."""
        self._durable = True
        super().disconnect()

    def _commit_all(self, connection: sqlite3.Connection, jobs: Sequence[Job[Any]]) -> bool:
        """Commit a group; `False` if nothing of it was stored and each is to be tried alone."""
        try:
            self._sync(connection, durable=any(job.durable for job in jobs))
            self._begin(connection, jobs)
        except FAILURES as error:  # locked: each by itself would wait as long again
            for job in jobs:
                job.error = translate(error, self.path)
            return True
        try:
            for job in jobs:
                connection.execute("SAVEPOINT job")
                self._attempt(connection, job)
                if job.error is not None:
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except FAILURES:
            _roll_back(connection)
            return False
        return True

    def _commit(self, connection: sqlite3.Connection, job: Job[Any]) -> None:
        """Commit one job in a transaction of its own."""
        job.error = None
        try:
            self._sync(connection, durable=job.durable)
            self._begin(connection, [job])
            self._attempt(connection, job)
            if job.error is None:
                connection.execute("COMMIT")
        except FAILURES as error:
            job.error = translate(error, self.path)
        finally:
            _roll_back(connection)

    def _begin(self, connection: sqlite3.Connection, jobs: Sequence[Job[Any]]) -> None:
        """Begin; wait for another process's write, up to `BUSY`, while a caller waits for us."""
        deadline = time.monotonic() + BUSY
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                waiting = time.monotonic() < deadline and not all(job.hurried for job in jobs)
                if not (locked and waiting):
                    raise
            else:
                return

    def _attempt(self, connection: sqlite3.Connection, job: Job[Any]) -> None:
        try:
            job.succeed(job.work(connection))
        except EffectRaised as carried:
            job.error = carried.error
        except FAILURES as error:
            job.error = translate(error, self.path)
        except Exception as error:  # noqa: BLE001 - the caller's
            job.error = error

    def _sync(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        """Choose whether the next commit waits for the disk."""
        if durable is not self._durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable


class Reader(Lane):
    """Does reads one by one, on a snapshot of their own, so that long ones hold up no write."""

    _current: Job[Any] | None = None

    def serve(self, connection: sqlite3.Connection, jobs: Sequence[Job[Any]]) -> None:
        """Read for *jobs*, in order."""
        for job in jobs:
            self._current = job
            while True:
                try:
                    job.succeed(job.work(connection))
                except FAILURES as error:
                    # An interrupt may come late, and then hits the next caller's read.
                    code = getattr(error, "sqlite_errorcode", None)
                    if code == sqlite3.SQLITE_INTERRUPT and not job.hurried:
                        continue
                    job.error = translate(error, self.path)
                except Exception as error:  # noqa: BLE001 - the caller's
                    job.error = error
                break
            self._current = None

    def hurry(self, job: Job[Any]) -> None:
        """Interrupt a read that nobody waits for any more."""
        super().hurry(job)
        connection = self._connection
        if self._current is job and connection is not None:
            with suppress(sqlite3.ProgrammingError):  # closed in between
                connection.interrupt()


def _groups(jobs: Sequence[Job[Any]]) -> Iterator[Sequence[Job[Any]]]:
    for alone, together in groupby(jobs, key=lambda job: job.alone):
        group = list(together)
        yield from ([job] for job in group) if alone else [group]


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.rollback()
        if connection.isolation_level is not None:  # an effect set it; to reset it commits
            connection.isolation_level = None
    except FAILURES:  # closed, or so broken that closing it is all that is left: it holds the lock
        with suppress(*FAILURES):
            connection.close()
