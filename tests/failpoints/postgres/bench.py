"""A prepared PostgreSQL storage on a wire, what may be left in it, and what may not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import psycopg
from psycopg.conninfo import make_conninfo

from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.connection import Connection
from layered.errors import BackendError
from layered.task import Status
from tests.conformance.postgres import CLOCK
from tests.failpoints.control_operations import CONTROL
from tests.failpoints.invariants import Row, Rows, Store, broken, broken_between, outline
from tests.failpoints.operations import (
    KINDS,
    LIMITS,
    OPERATIONS as ALL,
    Clock,
    Operation,
    drain,
    prepare,
)
from tests.failpoints.postgres.wire import Hook, Run, Wire, pass_on

PARTS = {"prune": 3, "claim": 2}
"""The statements by which an operation changes something, where each is a transaction."""

OPERATIONS: Mapping[str, Operation] = {
    name: operation._replace(parts=PARTS.get(name, operation.parts))
    for name, operation in {**ALL, **CONTROL}.items()
}

NAME = "failpoints"
LANES = 4
LIMIT = 5.0
"""Seconds until the server has noticed that a client is gone."""

TASK = """
    id::text, queue, state, due_at, finished_at, attempt, max_attempts, lost, max_lost, epoch,
    uuid_send(claim_id), owner, lease_until, lease_until, uuid_send(settled_claim), settled_op,
    cancel_requested::integer, dedup_key, payload, progress, result,
    array_to_string(errors, ' ')
"""
TABLES = {
    "task": TASK,
    "dedup": "queue, key, task::text, until",
    "checkpoint": "task::text, step, value",
    "queue": "*",
    "worker": "*",
}


class ServerClock(Clock):
    """The clock of the server: it stands still until it is moved."""

    def __init__(self, admin: psycopg.Connection[Any]) -> None:
        self._admin = admin
        self._at = 0.0
        admin.execute(CLOCK.format(schema="clock").encode())
        self.at = 1_700_000_000.0

    @property
    def at(self) -> float:
        """The time, in seconds."""
        return self._at

    @at.setter
    def at(self, seconds: float) -> None:
        self._at = seconds
        self._admin.execute("UPDATE clock.moved SET at = %s", (seconds,))


class Seen(NamedTuple):
    """All that a schema holds: the tasks, what is kept of them, and all other rows by table."""

    store: Store
    others: Mapping[str, Sequence[object]]

    @property
    def rows(self) -> Rows:
        """The tasks."""
        return self.store.rows

    def outline(self) -> object:
        """Leave out what chance decides."""
        return outline(self.rows), self.store.keys, self.store.steps, self.others


class Prepared:
    """
    A database with a schema that has the tasks of `prepare`; `restore` brings them back.

    `wholes` has what is known of operations without a fault, by name.
    """

    def __init__(self, dsn: str) -> None:
        self.wholes: dict[str, Whole] = {}
        self.admin = psycopg.connect(dsn, autocommit=True)
        self.admin.execute("SET lock_timeout = '5s'")
        self.clock = ServerClock(self.admin)
        self.dsn = make_conninfo(
            dsn, options="-c search_path=clock,pg_catalog", application_name=NAME
        )
        self.fences = anyio.run(self._prepare)
        self._at = self.clock.at
        for table in TABLES:
            text = f"CREATE TABLE layered.{table}_saved AS TABLE layered.{table}"
            self.admin.execute(text.encode())

    async def _prepare(self) -> Any:
        async with self.storage() as storage:
            return await prepare(storage, self.clock)

    def storage(self) -> PostgresStorage[Any]:
        """Make a storage."""
        return PostgresStorage(self.dsn, KINDS, limits=LIMITS)

    def restore(self) -> None:
        """Have all as it was at first."""
        self.clock.at = self._at
        restore = [
            text
            for table in TABLES
            for text in (
                f"DELETE FROM layered.{table}",  # noqa: S608 - no input
                f"INSERT INTO layered.{table} TABLE layered.{table}_saved",
            )
        ]
        self.admin.execute(";".join(restore).encode())

    def look(self) -> Seen:
        """Read all."""
        read: dict[str, Sequence[Any]] = {
            table: self.admin.execute(
                f"SELECT {columns} FROM layered.{table} ORDER BY 1, 2".encode()  # noqa: S608 - no input
            ).fetchall()
            for table, columns in TABLES.items()
        }
        rows = {row[0]: Row(*row) for row in read.pop("task")}
        keys = {(queue, key): id_ for queue, key, id_, _ in read["dedup"]}
        steps = {(id_, step): value for id_, step, value in read.pop("checkpoint")}
        return Seen(Store(rows, keys, steps), read)

    def sessions(self) -> list[str]:
        """List the states of the storage's sessions."""
        query = "SELECT state FROM pg_stat_activity WHERE application_name = %s"
        return [state for (state,) in self.admin.execute(query, (NAME,))]

    def check_sessions(self, most: int) -> None:
        """Find no more sessions than *most*, all of them idle, and no lock that is held."""
        with self.admin.transaction():  # waits for what a lost client has left behind
            self.admin.execute("LOCK TABLE layered.task, layered.dedup, layered.queue")
        deadline = time.monotonic() + LIMIT
        while len(found := self.sessions()) > most or set(found) - {"idle"}:
            assert time.monotonic() < deadline, found
            time.sleep(0.001)


class Bench:
    """A storage on a wire; it is open inside `opened`."""

    def __init__(self, prepared: Prepared, wire: Wire) -> None:
        self.prepared = prepared
        self.wire = wire
        self.fences = prepared.fences
        prepared.restore()
        self.before = prepared.look()
        self.storage = prepared.storage()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open the storage, and all its connections; when it is closed none may be left."""
        async with self.storage:
            for work in ("push", "claim", "settle", "read"):
                await self.storage._pool.run(work, touch)
            yield
        self.prepared.check_sessions(0)

    async def attempt(self, operation: Operation, hook: Hook) -> object:
        """Do an operation with a fault; answer what it raises."""
        self.wire.hook = hook
        try:
            return await operation.run(self.storage, self.fences)
        except (BackendError, psycopg.Error, OSError) as error:
            return error
        finally:
            self.wire.hook = pass_on

    async def check(self, operation: Operation, stages: Sequence[object]) -> Seen:
        """
        Find no half state, no lock that is held, no session too many, and a storage to be used.

        Args:
            operation: What was tried; it is done again here.
            stages: What the store holds after each commit of it, the first of them before it.

        Returns:
            What was stored by the first try.
        """
        self.prepared.check_sessions(LANES)
        found = self.prepared.look()
        assert broken(found.store) == []
        assert broken_between(self.before.store, found.store) == []
        assert found.outline() in stages

        answer = await operation.run(self.storage, self.fences)

        self.prepared.check_sessions(LANES)
        assert self.prepared.look().outline() == stages[-1]
        if found.outline() == stages[0]:
            assert answer == operation.first
        elif found.outline() == stages[-1]:
            assert answer == operation.again
        return found

    async def check_all_ends(self) -> None:
        """See every lease end, and every task be run to its end, under a new epoch if it ran."""
        await self.storage.resume("default")
        stores = [self.prepared.look().store]
        async for _ in drain(self.storage, self.prepared.clock):
            stores.append(self.prepared.look().store)
            assert broken(stores[-1]) == []
            assert broken_between(*stores[-2:]) == []
        _, reaped, claimed, ended = (store.rows for store in stores)
        assert [row for row in reaped.values() if row.state == Status.RUNNING] == []
        assert [row for row in ended.values() if row.state < Status.DONE] == []
        for id_, row in claimed.items():
            if row.state == Status.RUNNING:
                assert row.epoch == reaped[id_].epoch + 1


async def touch(connection: Connection) -> None:
    """Use a connection."""
    await connection.execute("SELECT 1")


class Whole(NamedTuple):
    """An operation without a fault: its statements, and what the store held after each of them."""

    statements: Sequence[str]
    stages: Sequence[object]


async def whole(bench: Bench, name: str) -> Whole:
    """Do an operation without a fault, and look on; once in a session."""
    known = bench.prepared.wholes
    if name not in known:
        known[name] = await _whole(bench, OPERATIONS[name])
    return known[name]


async def _whole(bench: Bench, operation: Operation) -> Whole:
    statements: list[str] = []
    stages = [bench.before.outline()]

    async def note(connection: Connection, statement: str, run: Run) -> Any:
        statements.append(statement)
        result = await run()
        if (seen := bench.prepared.look().outline()) != stages[-1]:
            stages.append(seen)
        return result

    async with bench.opened():
        assert await bench.attempt(operation, note) == operation.first
        await bench.check(operation, stages)
        await bench.check_all_ends()
    assert len(stages) <= 1 + operation.parts
    return Whole(statements, stages)
