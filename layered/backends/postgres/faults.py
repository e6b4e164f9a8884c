"""What PostgreSQL's and psycopg's errors mean in layered's terms."""

from __future__ import annotations

import re

from psycopg import Error, errors
from psycopg.conninfo import conninfo_to_dict

from layered.errors import BackendBroken, BackendError, Fatal, Full, Transient

# By SQLSTATE, or its class, the first two characters.
_KINDS: dict[str, tuple[type[BackendError], str]] = {
    "53100": (Full, "the server's disk is full; make room and try again"),
    "53200": (Transient, "the server ran out of memory; try again"),
    "53300": (Transient, "the server has no connections left; raise max_connections or wait"),
    "53": (Transient, "the server is short of something; try again"),
    "54": (Fatal, "a limit of the server was passed"),
    "57014": (Transient, "the statement was stopped; try again"),
    "57": (BackendBroken, "the server is stopping or starting"),
    "08": (BackendBroken, "the connection was lost"),
    "40": (Transient, "it lost to another transaction; try again"),
    "55": (Transient, "a lock was not given; try again"),
    "25006": (Transient, "the server is read-only, a standby perhaps; connect to the primary"),
    "25": (BackendBroken, "the connection was in another transaction's state"),
    "28": (Fatal, "the server refuses this user; check name and password in the DSN"),
    "3D": (Fatal, "there is no such database; create it, or correct the DSN"),
    "3F": (Fatal, "there is no such schema; run storage.migrate()"),
    "42501": (Fatal, "access was denied; grant this user the schema and its tables"),
    "42P01": (Fatal, "a table is missing; run storage.migrate()"),
    "42883": (Fatal, "a function is missing; run storage.migrate()"),
    "XX": (Fatal, "the server found damage; restore a backup"),
    "58": (BackendBroken, "the server cannot read or write its files"),
}

# libpq tells no SQLSTATE of a log-in that failed, only words, in the server's language: in
# another than English it is as if the server could not be reached, which is tried again.
_REFUSALS = {
    "28": re.compile(
        r"FATAL: .*(authentication failed|pg_hba\.conf|permitted to log in|role .* does not exist)"
    ),
    "3D": re.compile(r"FATAL: .*database .* does not exist"),
    "53300": re.compile(r"FATAL: .*(too many (clients|connections)|connection slots)"),
}


def translate(error: Error | OSError, where: str) -> BackendError:
    """Make the `BackendError` that says what to do about *error*, which is its ``__cause__``."""
    kind, meaning = _kind(error)
    text = " ".join(str(error).split())
    made = kind(f"using {where}: {meaning} ({text})")
    made.__cause__ = error
    return made


def _kind(error: Error | OSError) -> tuple[type[BackendError], str]:
    state = getattr(error, "sqlstate", None) or _refusal(error)
    if state is not None:
        for key in (state, state[:2]):
            if key in _KINDS:
                return _KINDS[key]
        return Fatal, "the server refused the statement"
    if isinstance(error, errors.OperationalError | errors.InterfaceError | OSError):
        return BackendBroken, "the server cannot be reached, or the connection was lost"
    return Fatal, "the driver refused the statement"


def _refusal(error: Error | OSError) -> str | None:
    if isinstance(error, errors.OperationalError):
        for state, words in _REFUSALS.items():
            if words.search(str(error)):
                return state
    return None


def shown(dsn: str) -> str:
    """
    Show where a DSN leads, without user and password.

    Raises:
        ValueError: if it cannot be read; the message does not repeat it.
    """
    try:
        params = conninfo_to_dict(dsn)
    except (Error, TypeError):
        msg = "the DSN cannot be read; write it as 'postgresql://user@host:5432/database'"
        raise ValueError(msg) from None
    host = params.get("host") or params.get("hostaddr") or "the local socket"
    port = f":{params['port']}" if params.get("port") else ""
    return f"{host}{port}/{params.get('dbname') or ''}"
