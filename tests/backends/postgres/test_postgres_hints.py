"""Hints by NOTIFY: which pushes send one, and when."""

from __future__ import annotations

import anyio
import psycopg
from psycopg import generators

from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.connection import Connection

WAIT = 30.0
"""Seconds after which a hint that must come is taken for lost; less than a poll would take."""


async def test_push_of_another_storage_is_heard(postgres: str, postgres_schema: str) -> None:
    """The listener tells of what another program pushes."""
    heard = anyio.Event()
    async with (
        PostgresStorage.with_notify(postgres, str, schema=postgres_schema) as worker,
        PostgresStorage.with_notify(postgres, str, schema=postgres_schema) as producer,
    ):
        with worker.pushed.listening(heard.set), anyio.fail_after(WAIT):
            await producer.push("a")
            await heard.wait()


async def test_push_in_a_transaction_is_heard_after_its_commit(
    postgres: str, postgres_schema: str
) -> None:
    """Not before: a worker would look, find nothing, and wait for its next poll."""
    heard = anyio.Event()
    async with PostgresStorage.with_notify(postgres, str, schema=postgres_schema) as storage:
        theirs = await Connection.open(postgres, "theirs")
        with storage.pushed.listening(heard.set), anyio.fail_after(WAIT):
            async with theirs.together():
                await storage.push_in(theirs, "a")
                # What is sent later is heard later: had the first been sent, it were heard by now.
                heard_early = await heard_of_another(postgres, storage, heard)
            await heard.wait()
        await theirs.close()

    assert not heard_early


async def heard_of_another(dsn: str, storage: PostgresStorage[str], heard: anyio.Event) -> bool:
    """Send a hint for another queue, wait until it has arrived; tell whether ours had, too."""
    connection = await Connection.open(dsn, "another")
    channel = "layered_" + storage.schema.strip('"')
    await connection.execute(f'LISTEN "{channel}"'.encode())
    sender = await Connection.open(dsn, "sender")
    await sender.execute("SELECT pg_notify(%s, 'another')", (channel,))
    await sender.close()
    while b"another" not in {
        notice.extra for notice in await connection.wait(generators.notifies(connection.pgconn))
    }:
        pass
    await connection.close()
    return heard.is_set()


async def test_plain_storage_sends_no_hint_in_a_transaction(
    postgres: str, postgres_schema: str
) -> None:
    """NOTIFY has commits wait for each other, so only who asked for hints pays for them."""
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        with psycopg.connect(postgres) as listening, psycopg.connect(postgres) as theirs:
            listening.execute(f'LISTEN "layered_{postgres_schema}"')
            listening.commit()
            storage.push_in_sync(theirs, "a")
            theirs.commit()
            theirs.execute("SELECT pg_notify(%s, 'last')", (f"layered_{postgres_schema}",))
            theirs.commit()
            notices = [notice.payload for notice in listening.notifies(stop_after=1, timeout=WAIT)]

    assert notices == ["last"]
