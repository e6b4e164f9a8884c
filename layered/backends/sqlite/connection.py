"""
Opening the file: a look that changes nothing, then creation, then connections.

A file that is not ours is refused before SQLite could write a byte to it
or beside it: the look is read-only and ``immutable``.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from layered.backends.sqlite.notes import noted
from layered.backends.sqlite.queries import text
from layered.errors import Fatal

APPLICATION_ID = 0x4C415952
"""``LAYR``: marks the file as ours."""

SCHEMA = 2
"""The version of `schema.sql`, kept in ``user_version``."""

_OUTDATED = "run its tasks to their end with the version of layered-tasks that made it"

BUSY = 5.0
"""Seconds to wait for another process's write."""

_TURN = "PRAGMA busy_timeout = 200"
"""How long a writer waits in one go, ms: SQLite's wait cannot be interrupted, so it is short."""


_FOREIGN = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
"""How SQLite calls a file that it did not write; any other error is none of the file's."""


class Found(NamedTuple):
    """What a look at the file found."""

    application_id: int
    version: int
    tables: tuple[str, ...]


def prepare(path: str) -> None:
    """
    Make sure that *path* is a database of ours: create it, or refuse it untouched.

    Raises:
        Fatal: if it is something else, or of another schema.
        sqlite3.Error: if SQLite fails.
    """
    fresh = _make_file(path) or Path(path).stat().st_size == 0
    if fresh or not _is_current(path, _look(path)):
        _create(path)


def connect(path: str) -> sqlite3.Connection:
    """
    Open a connection for writing; every transaction is begun by hand.

    Raises:
        Fatal: if the file is not ours.
    """
    return _opened(path, _TURN)


def connect_reader(path: str) -> sqlite3.Connection:
    """Open a connection that refuses to write."""
    return _opened(path, "PRAGMA query_only = ON")


def connect_keeper(path: str) -> sqlite3.Connection:
    """Open a connection for renewals, which need not survive a loss of power."""
    return _opened(path, _TURN, "PRAGMA synchronous = NORMAL")


def check(connection: sqlite3.Connection, path: str) -> None:
    """
    Look whether the store is what it was when it was opened.

    Raises:
        Fatal: if it is not; the message says what differs.
    """
    read = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version", "journal_mode", "synchronous")
    }
    _is_current(path, Found(read["application_id"], read["user_version"], ("task",)))
    if read["journal_mode"] != "wal" or read["synchronous"] == 0:
        msg = f"using {path!r}: needs journal_mode wal and synchronous full, got {read}"
        raise Fatal(msg)
    if not Path(path).exists():
        msg = f"using {path!r}: the file was removed; close the storage and open it again"
        raise Fatal(msg)


def _make_file(path: str) -> bool:
    """Create the file for its owner only; answer whether it was not there."""
    if not path or path.startswith(":memory:"):
        msg = f"opening {path!r}: needs a file; for tasks in memory use MemoryStorage"
        raise Fatal(msg)
    try:
        if stat.S_ISREG(mode := os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        try:
            os.close(os.open(path, flags, 0o600))
        except FileExistsError:
            return False  # another process was first
        except OSError as error:
            msg = (
                f"opening {path!r}: the file cannot be created ({error.strerror}); "
                "its folder must exist, and this user must be allowed to write there"
            )
            raise Fatal(msg) from error
        return True
    except OSError as error:
        msg = f"opening {path!r}: {error}"
        raise Fatal(msg) from error
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
    msg = f"opening {path!r}: it is {kind}; give the path of the file itself"
    raise Fatal(msg)


def _look(path: str) -> Found:
    """
    Read who made the file, without a lock and without changing anything.

    While another process creates it, such a look may see half of it; so a
    look counts only if the file stayed as it was.
    """
    deadline = time.monotonic() + BUSY
    while True:
        before = Path(path).stat()
        try:
            found: Found | sqlite3.Error = _look_once(path)
        except sqlite3.Error as error:
            found = error
        after = Path(path).stat()
        still = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if (still and not Path(f"{path}-journal").exists()) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    if isinstance(found, Found):
        return found
    if not os.access(path, os.R_OK):
        msg = f"opening {path!r}: it cannot be read ({found}); give this user read and write access"
        raise Fatal(msg) from found
    if getattr(found, "sqlite_errorcode", 0) & 0xFF in _FOREIGN:
        msg = (
            f"opening {path!r}: it is no SQLite database ({found}); "
            "choose another file, or move this one away"
        )
        raise Fatal(msg) from found
    raise found


def _look_once(path: str) -> Found:
    uri = f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        # Amid a checkpoint, which a crash may end, the first page can count pages that only the
        # log has. Without this SQLite takes that for damage, and the file could not be opened.
        connection.execute("PRAGMA writable_schema = ON")
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        ours = application_id == APPLICATION_ID
        return Found(application_id, version, () if ours else _tables(connection))


def _tables(connection: sqlite3.Connection) -> tuple[str, ...]:
    return tuple(name for (name,) in connection.execute("SELECT name FROM sqlite_master LIMIT 5"))


def _is_current(path: str, found: Found) -> bool:
    """Answer whether the schema is there; refuse what is not ours or of another version."""
    if found.application_id == APPLICATION_ID:
        if found.version != SCHEMA:
            way_out = "upgrade layered-tasks" if found.version > SCHEMA else _OUTDATED
            msg = (
                f"opening {path!r}: it has schema version {found.version}, this program knows "
                f"{SCHEMA}; {way_out}, or choose another file"
            )
            raise Fatal(msg)
        return True
    if found.tables:
        msg = (
            f"opening {path!r}: it is a database of another program (application_id "
            f"{found.application_id:#x}, with {', '.join(found.tables)}); choose another file"
        )
        raise Fatal(msg)
    return False


def _create(path: str) -> None:
    """
    Write the schema, in one transaction and before WAL is switched on.

    So the file itself, which later looks read without the WAL, always says whose it is.
    """
    with closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        found = Found(
            connection.execute("PRAGMA application_id").fetchone()[0],
            connection.execute("PRAGMA user_version").fetchone()[0],
            _tables(connection),
        )
        if _is_current(path, found):
            connection.execute("ROLLBACK")
            return
        for statement in text("schema.sql").split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")


def _opened(path: str, *pragmas: str) -> sqlite3.Connection:
    # Where the file is gone, no other is made: `rw`.
    uri = f"{Path(path).absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, timeout=BUSY, isolation_level=None, uri=True)
    try:
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16384")
        connection.create_function("noted", 2, noted, deterministic=True)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        _is_current(path, Found(APPLICATION_ID, version, ()))
        for pragma in pragmas:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL; SQLite does not wait for the lock here, so we do."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
