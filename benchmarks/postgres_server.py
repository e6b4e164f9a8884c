"""
A PostgreSQL server for a question, from the wheel of the tests, as durable as it is shipped.

On the disk below the folder for temporary files: `TMPDIR` chooses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from urllib.parse import urlsplit

import psycopg

from tests.servers.postgres import Server

SETTINGS = {"shared_buffers": "256MB"}
"""What differs from the defaults of PostgreSQL, but for ports and paths."""
SHOWN = ("server_version", "fsync", "synchronous_commit", "shared_buffers")

_numbers = count()


@contextmanager
def server() -> Iterator[str]:
    """Run a server; answer its DSN."""
    with Server(durable=True, settings=SETTINGS) as running:
        yield running.dsn


@contextmanager
def database(dsn: str) -> Iterator[str]:
    """Make a database, with what was written before on the disk; answer its URI."""
    name = f"bench_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        connection.execute(b"CHECKPOINT")
        try:
            yield urlsplit(dsn)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def in_force(dsn: str) -> str:
    """Ask the server what it promises of commits."""
    with psycopg.connect(dsn) as connection:
        facts = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in SHOWN]
    version, *rest = (fact[0] for fact in facts if fact)
    settings = ", ".join(f"{name} {value}" for name, value in zip(SHOWN[1:], rest, strict=True))
    return f"PostgreSQL {version}; {settings}."
