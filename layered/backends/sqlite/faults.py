"""What SQLite's error codes mean in layered's terms."""

from __future__ import annotations

import sqlite3

from layered.errors import BackendBroken, BackendError, Fatal, Full, Transient

FAILURES = (sqlite3.Error, MemoryError)
"""What SQLite's calls raise: without memory it is Python's own error, with no code."""

_KINDS: dict[int, tuple[type[BackendError], str]] = {
    sqlite3.SQLITE_FULL: (Full, "the disk or the database is full; make room and try again"),
    sqlite3.SQLITE_BUSY: (Transient, "another process holds the lock; try again"),
    sqlite3.SQLITE_LOCKED: (Transient, "another connection holds the lock; try again"),
    sqlite3.SQLITE_INTERRUPT: (Transient, "it was interrupted; try again"),
    sqlite3.SQLITE_IOERR: (BackendBroken, "the file cannot be read or written"),
    sqlite3.SQLITE_CANTOPEN: (BackendBroken, "the file cannot be opened"),
    sqlite3.SQLITE_CORRUPT: (Fatal, "the file is damaged; restore a copy"),
    sqlite3.SQLITE_NOTADB: (Fatal, "the file is no SQLite database; choose another"),
    sqlite3.SQLITE_READONLY: (
        Fatal,
        "the file or its folder is read-only; give this user write access",
    ),
    sqlite3.SQLITE_PERM: (Fatal, "access was denied; give this user write access"),
}


def translate(error: sqlite3.Error | MemoryError, path: str) -> BackendError:
    """Make the `BackendError` that says what to do about *error*, which is its ``__cause__``."""
    kind, meaning = _kind(error)
    made = kind(f"using {path!r}: {meaning} ({error})")
    made.__cause__ = error
    return made


def _kind(error: sqlite3.Error | MemoryError) -> tuple[type[BackendError], str]:
    if isinstance(error, MemoryError):
        return Transient, "memory ran out; try again"
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # the driver's own: the connection was closed under us
        return BackendBroken, "the connection is gone"
    return _KINDS.get(code & 0xFF, (Fatal, "refused"))
