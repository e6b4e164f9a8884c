"""What lies between a storage and SQLite: a place to fail, to stop, and to count."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from layered.errors import BackendBroken, BackendError, Fatal, Full, Transient

OPEN = sqlite3.connect
"""Opens a connection without a wire."""

Run: TypeAlias = Callable[[], Any]
Hook: TypeAlias = Callable[["Wired", str, Run], Any]


def pass_on(connection: Wired, statement: str, run: Run) -> Any:
    """Do what was asked for."""
    return run()


class Wire:
    """All connections that a storage opens; `hook` is given each of their statements."""

    def __init__(self) -> None:
        self.hook: Hook = pass_on
        self.open: set[Wired] = set()

    def connect(self, *args: Any, **options: Any) -> Wired:
        """Open a connection, as `sqlite3.connect` does."""
        connection = OPEN(*args, **options, factory=Wired)
        connection.wire = self
        self.open.add(connection)
        return connection


class Wired(sqlite3.Connection):
    """A connection that asks its wire before each statement."""

    wire: Wire
    broken = False

    def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        run = partial(super().execute, statement, values)
        cursor: sqlite3.Cursor = self.wire.hook(self, statement, run)
        return cursor

    def executemany(self, statement: str, values: Any, /) -> sqlite3.Cursor:
        """Run a statement many times, or fail."""
        run = partial(super().executemany, statement, values)
        cursor: sqlite3.Cursor = self.wire.hook(self, statement, run)
        return cursor

    def rollback(self) -> None:
        """Roll back, or fail."""
        self.wire.hook(self, "ROLLBACK", super().rollback)

    def undo(self) -> None:
        """Roll back as SQLite does by itself at some errors."""
        super().rollback()

    def close(self) -> None:
        """Close, and be forgotten: who is not closed by hand is a leak."""
        super().close()
        self.wire.open.discard(self)


def error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    """Make the error that Python raises for a code of SQLite."""
    made = kind(f"simulated {code}")
    made.sqlite_errorcode = code
    return made


def refused(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> Hook:
    """Do not run the statement; the transaction stands."""

    def strike(connection: Wired, statement: str, run: Run) -> Any:
        raise error(code, kind)

    return strike


def undone(code: int) -> Hook:
    """Do not run the statement, and roll the whole transaction back, as SQLite may."""

    def strike(connection: Wired, statement: str, run: Run) -> Any:
        connection.undo()
        raise error(code)

    return strike


def broken(code: int) -> Hook:
    """Run neither this statement nor any later one of this connection, not even a rollback."""

    def strike(connection: Wired, statement: str, run: Run) -> Any:
        connection.broken = True
        raise error(code)

    return strike


def out_of_memory(connection: Wired, statement: str, run: Run) -> Any:
    """Fail as Python tells SQLITE_NOMEM, with all rolled back."""
    connection.undo()
    raise MemoryError


def lost_before(connection: Wired, statement: str, run: Run) -> Any:
    """Lose the connection before the statement is run."""
    connection.close()
    return run()


def lost_after(connection: Wired, statement: str, run: Run) -> Any:
    """Lose the connection when the statement was run, and before its answer."""
    run()
    connection.close()
    return run()


class Fault(NamedTuple):
    """
    What happens at a statement, and what the caller is told.

    Args:
        strike: Stands in for the statement.
        error: What the operation raises.
        absorbed: The statements at which the storage tries again by itself.
    """

    strike: Hook
    error: type[BackendError]
    absorbed: tuple[str, ...] = ()


WAITS = ("BEGIN IMMEDIATE", "PRAGMA journal_mode = WAL")

FAULTS: Mapping[str, Fault] = {
    "connection lost before": Fault(lost_before, BackendBroken),
    "connection lost after": Fault(lost_after, BackendBroken),
    "busy": Fault(refused(sqlite3.SQLITE_BUSY), Transient, WAITS),
    "busy and undone": Fault(undone(sqlite3.SQLITE_BUSY), Transient, WAITS),
    "busy and stuck": Fault(broken(sqlite3.SQLITE_BUSY), Transient),
    "interrupted": Fault(refused(sqlite3.SQLITE_INTERRUPT), Transient),
    "full": Fault(refused(sqlite3.SQLITE_FULL), Full),
    "full and undone": Fault(undone(sqlite3.SQLITE_FULL), Full),
    "I/O error": Fault(refused(sqlite3.SQLITE_IOERR_WRITE), BackendBroken),
    "I/O error and undone": Fault(undone(sqlite3.SQLITE_IOERR_FSYNC), BackendBroken),
    "I/O error and stuck": Fault(broken(sqlite3.SQLITE_IOERR_READ), BackendBroken),
    "damaged": Fault(refused(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError), Fatal),
    "out of memory": Fault(out_of_memory, Transient),
}


class At:
    """A hook that strikes at the statement of this number, counted from 0."""

    def __init__(self, number: int, strike: Hook) -> None:
        self._number = number
        self._strike = strike
        self.statements: list[str] = []

    @property
    def struck(self) -> str | None:
        """The statement that it struck at, if there were so many."""
        return self.statements[self._number] if self._number < len(self.statements) else None

    def __call__(self, connection: Wired, statement: str, run: Run) -> Any:
        """Count, and strike."""
        self.statements.append(statement)
        if connection.broken or len(self.statements) == self._number + 1:
            return self._strike(connection, statement, run)
        return run()
