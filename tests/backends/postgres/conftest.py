"""A storage and a connection of PostgreSQL, open for one test."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.connection import Connection
from layered.task import Kind

KINDS = (Kind(str, name="a"), Kind(int, name="b"))


@pytest.fixture
async def storage(postgres: str, postgres_schema: str) -> AsyncIterator[PostgresStorage[Any]]:
    """Give an open storage in a schema of its own."""
    async with PostgresStorage[Any](postgres, KINDS, schema=postgres_schema) as storage:
        yield storage


@pytest.fixture
async def connection(postgres: str) -> AsyncIterator[Connection]:
    """Give a connection."""
    connection = await Connection.open(postgres, "under test")
    try:
        yield connection
    finally:
        await connection.close()
