"""One prepared database for all failpoints of PostgreSQL, and the wire before it."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from layered.backends.postgres import connection
from layered.backends.postgres.connection import Connection

pytest.register_assert_rewrite("tests.failpoints.postgres.bench")
from tests.failpoints.postgres.bench import Bench, Prepared  # noqa: E402 - see above
from tests.failpoints.postgres.wire import Wire, wired  # noqa: E402 - see above


@pytest.fixture(scope="session")
def prepared(postgres: str) -> Iterator[Prepared]:
    """Give a database with the tasks of `prepare`."""
    name = f"failpoints_{uuid4().hex}"
    database = sql.Identifier(name)
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
        prepared = Prepared(make_conninfo(postgres, dbname=name))
        yield prepared
        prepared.admin.close()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Give the wire that all connections of this test run through."""
    wire = Wire()
    monkeypatch.setattr(Connection, "execute", wired(wire))
    monkeypatch.setattr(connection, "_ready", wire.ready)
    return wire


@pytest.fixture
def bench(prepared: Prepared, wire: Wire) -> Callable[[], Bench]:
    """Give a maker of storages, each with all tasks as they were at first."""
    return lambda: Bench(prepared, wire)
