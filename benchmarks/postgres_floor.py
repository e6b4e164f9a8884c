"""
A task table written by hand for psycopg: what `PostgresStorage` is compared with.

`Plain` is the least that is still safe: it claims a batch in one commit,
runs it, and deletes it in another. `Fair` keeps what a stored task of ours
is made of, reads the columns that a claim of ours answers, decodes the
arguments, and at the end writes the result, the state and the time; that
commit overlaps the next claim, on a second connection.

A push wakes the worker by NOTIFY. Both leave out: the fence (claim_id,
owner, the epoch's rise, and the look at them in each write), renewing and
reaping, the order by priority and due time, several queues and names,
delays, expiry, pauses, the answer to an id pushed twice, a task and a
context for each handler, a lost connection, trio.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import time_ns
from typing import Any, ClassVar, NamedTuple, Self

import msgspec
from psycopg import AsyncConnection

from benchmarks.mail import Mail
from benchmarks.peers.served import Mails
from layered.task import new_id

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Mail).decode


class Plain:
    """
    Claim, run, delete.

    Args:
        connections: To push, to claim, to settle and to listen.
        most: Tasks of a claim.
    """

    SCHEMA: ClassVar = b"""
        CREATE TABLE task (
            id uuid PRIMARY KEY, payload bytea NOT NULL, leased_until timestamptz
        );
        CREATE INDEX ready ON task (id) WHERE leased_until IS NULL;
    """
    INSERT: ClassVar = b"""
        WITH pushed AS (
            INSERT INTO task (id, payload) SELECT * FROM unnest(%s::uuid[], %s::bytea[])
        )
        SELECT pg_notify('task', '')
    """
    CLAIM: ClassVar = b"""
        UPDATE task SET leased_until = now() + interval '30 s'
        WHERE id = ANY(ARRAY(
            SELECT id FROM task WHERE leased_until IS NULL
            ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
        ))
        RETURNING id, payload
    """
    END: ClassVar = b"DELETE FROM task WHERE id = ANY(%s)"

    def __init__(self, connections: Sequence[AsyncConnection], most: int) -> None:
        self._pushes, self._claims, self._ends, self._listens = connections
        self._most = most
        self._hint = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def opened(cls, dsn: str, most: int) -> AsyncIterator[Self]:
        """Make the table, and connect."""
        async with AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(
                    await AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=0)
                )
                for _ in range(4)
            ]
            for statement in cls.SCHEMA.split(b";")[:-1]:
                await connections[0].execute(statement)
            yield cls(connections, most)

    async def push(self, mail: dict[str, Any]) -> None:
        """Push one."""
        await self.push_many([mail])

    async def push_many(self, mails: Mails) -> None:
        """Push many in one statement."""
        await self._pushes.execute(
            self.INSERT, [[new_id() for _ in mails], [encode(mail) for mail in mails]]
        )

    @asynccontextmanager
    async def working(self, handled: Callable[[int], None]) -> AsyncIterator[None]:
        """Run a worker; it stops behind its next claim."""
        stopping = False

        async def work() -> None:
            while not stopping:
                await self._batches(handled)
                await self._hint.wait()
                self._hint.clear()

        async def listen() -> None:
            await self._listens.execute(b"LISTEN task")
            async for _ in self._listens.notifies():
                self._hint.set()

        running, listening = asyncio.create_task(work()), asyncio.create_task(listen())
        yield
        stopping = True
        self._hint.set()
        await running
        listening.cancel()
        await asyncio.wait([listening])

    async def _batches(self, handled: Callable[[int], None]) -> None:
        """Work until nothing is left."""
        while rows := await self._claim():
            for row in rows:
                handled(decode(row[1]).id)
            await self._ends.execute(self.END, [[row[0] for row in rows]])

    async def _claim(self) -> list[Any]:
        cursor = self._claims.cursor(binary=True)
        await cursor.execute(self.CLAIM, [self._most])
        return await cursor.fetchall()


class Row(NamedTuple):
    """A claimed task; `payload` and `metadata` are decoded."""

    id: str
    epoch: int
    name: str
    payload: Mail
    codec: str
    version: int
    metadata: dict[str, str]
    priority: int
    attempt: int
    max_attempts: int | None
    lost: int
    due_at: int
    created_at: int


class Fair(Plain):
    """Claim what ours does, run, and keep the result while the next are claimed."""

    SCHEMA: ClassVar = b"""
        CREATE TABLE task (
            id uuid PRIMARY KEY, queue text NOT NULL, name text NOT NULL, due_at bigint NOT NULL,
            created_at bigint NOT NULL, expires_at bigint, finished_at bigint,
            leased_until timestamptz, epoch bigint NOT NULL DEFAULT 0, state smallint NOT NULL,
            priority smallint NOT NULL, version integer NOT NULL,
            attempt integer NOT NULL DEFAULT 0, max_attempts integer,
            lost integer NOT NULL DEFAULT 0, max_lost integer NOT NULL, codec text NOT NULL,
            metadata text, payload bytea NOT NULL, result bytea
        );
        CREATE INDEX ready ON task (id) WHERE state = 3;
    """
    INSERT: ClassVar = b"""
        WITH pushed AS (
            INSERT INTO task (
                id, queue, name, due_at, created_at, state, priority, version, max_lost, codec,
                payload
            )
            SELECT id, 'default', 'Mail', now, now, 3, 5, 1, 3, 'json', payload
            FROM unnest(%s::uuid[], %s::bytea[]) AS each (id, payload),
                (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now) AS clock
        )
        SELECT pg_notify('task', '')
    """
    CLAIM: ClassVar = b"""
        UPDATE task SET
            state = 4, attempt = attempt + 1, leased_until = now() + interval '30 s'
        WHERE id = ANY(ARRAY(
            SELECT id FROM task WHERE state = 3 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
        ))
        RETURNING
            id::text, epoch, name, payload, codec, version, metadata, priority, attempt,
            max_attempts, lost, due_at, created_at
    """
    END: ClassVar = b"""
        UPDATE task SET state = 5, result = each.result, finished_at = %s
        FROM unnest(%s::uuid[], %s::bytea[]) AS each (id, result) WHERE task.id = each.id
    """

    async def _batches(self, handled: Callable[[int], None]) -> None:
        """Work until nothing is left."""
        ending: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as ends:
            while rows := [self._made(*row) for row in await self._claim()]:
                results = []
                for row in rows:
                    handled(row.payload.id)
                    results.append(encode("sent"))
                if ending:
                    await ending
                ending = ends.create_task(self._end([row.id for row in rows], results))

    async def _end(self, ids: list[str], results: list[bytes]) -> None:
        await self._ends.execute(self.END, [time_ns() // 1000, ids, results])

    @staticmethod
    def _made(*columns: Any) -> Row:  # noqa: ANN401 - as the driver answers them
        id_, epoch, name, payload, codec, version, metadata, *rest = columns
        read = json.loads(metadata) if metadata else {}
        return Row(id_, epoch, name, decode(payload), codec, version, read, *rest)
