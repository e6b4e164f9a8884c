"""The fixtures `postgres` and `postgres_schema`."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.servers.shared import postgres_dsn


@pytest.fixture(scope="session")
def postgres() -> str:
    """Give the DSN of a server that the tests of this process share, started when first wanted."""
    return postgres_dsn()


@pytest.fixture
def postgres_schema(postgres: str) -> Iterator[str]:
    """Give the name of a schema that does not exist yet; what is made of it is dropped."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with psycopg.connect(postgres, autocommit=True) as connection:
        # A test that leaves a transaction open fails here; it does not hang.
        connection.execute("set lock_timeout = '10s'")
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(name)))
