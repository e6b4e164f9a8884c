"""Effects and the end of a task in one transaction, on SQLite."""

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from layered import (
    LeaseLost,
    RetryLayer,
    SqliteStorage,
    Status,
    WorkerBuilder,
    WorkerContext,
    WrongState,
)
from layered.worker import LateError, TaskEnded

from .conftest import Email, World


class Ledger:
    """A table of the user's own in the storage's file, and an effect on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the table."""
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE mails (recipient TEXT)")
        connection.close()

    def note(self, connection: sqlite3.Connection) -> None:
        """Add a row; the effect."""
        connection.execute("INSERT INTO mails VALUES ('ada')")

    def rows(self) -> int:
        """Count the rows."""
        connection = sqlite3.connect(self.path)
        try:
            (count,) = connection.execute("SELECT count(*) FROM mails").fetchone()
        finally:
            connection.close()
        return int(count)


async def run(path: Path, handler: Any) -> tuple[Any, list[Any]]:
    """Push one task, run it under retry, and answer its record and the events."""
    events: list[Any] = []

    async def note(event: object) -> None:
        events.append(event)

    async with SqliteStorage(path, Email) as storage:
        await anyio.to_thread.run_sync(Ledger(path).create)
        pushed = await storage.push(Email())
        worker = (
            WorkerBuilder("tests")
            .backend(storage)
            .layer(RetryLayer(3, wait=lambda _: 0.0))
            .on_event(note)
            .build(handler)
        )
        await worker.run(burst=True)
        return await storage.get(pushed.id), events


async def test_settle_in_then_raise_under_retry_is_one_run_one_effect_done(tmp_path: Path) -> None:
    """From the commit on nothing re-runs the task; a later error is an event."""
    ledger, runs = Ledger(tmp_path / "tasks.db"), []

    async def send(email: Email, ctx: WorkerContext) -> str:
        runs.append(email)
        await ctx.settle_in(ledger.note, "settled")
        msg = "too late"
        raise ConnectionError(msg)

    record, events = await run(ledger.path, send)

    assert (record.status, record.result_as(str)) == (Status.DONE, "settled")
    assert (len(runs), ledger.rows()) == (1, 1)
    assert [str(one.error) for one in events if isinstance(one, LateError)] == ["too late"]
    assert [one.status for one in events if isinstance(one, TaskEnded)] == [Status.DONE]


async def test_settle_in_whose_effect_raises_leaves_nothing_and_retries(tmp_path: Path) -> None:
    """A rolled-back transaction is an ordinary failure of that attempt."""
    ledger = Ledger(tmp_path / "tasks.db")
    runs: list[Email] = []

    def effect(connection: sqlite3.Connection) -> None:
        ledger.note(connection)
        if len(runs) < 3:
            msg = "no such address"
            raise LookupError(msg)

    async def send(email: Email, ctx: WorkerContext) -> None:
        runs.append(email)
        await ctx.settle_in(effect)

    record, _ = await run(ledger.path, send)

    assert (record.status, record.attempt) == (Status.DONE, 3)
    assert (len(runs), ledger.rows()) == (3, 1)


async def test_settle_in_works_once_for_a_task(tmp_path: Path) -> None:
    """A second settle is refused before anything is written."""
    ledger, refused = Ledger(tmp_path / "tasks.db"), []

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.settle_in(ledger.note)
        with pytest.raises(WrongState, match="settled before") as raised:
            await ctx.settle_in(ledger.note)
        refused.append(raised.value)

    record, _ = await run(ledger.path, send)

    assert record.status is Status.DONE
    assert (len(refused), ledger.rows()) == (1, 1)


async def test_settle_in_with_a_lost_lease_writes_nothing(tmp_path: Path) -> None:
    """The fence decides inside the transaction."""
    ledger, raised = Ledger(tmp_path / "tasks.db"), []

    def take_over() -> None:
        with sqlite3.connect(ledger.path) as connection:
            connection.execute("UPDATE task SET epoch = epoch + 1")
        connection.close()

    async def send(email: Email, ctx: WorkerContext) -> None:
        await anyio.to_thread.run_sync(take_over)
        try:
            await ctx.settle_in(ledger.note)
        except LeaseLost as error:
            raised.append(error)
            raise

    record, _ = await run(ledger.path, send)

    assert record.status is Status.RUNNING
    assert (len(raised), ledger.rows()) == (1, 0)


async def test_settle_in_is_refused_where_there_are_no_transactions(world: World) -> None:
    """The message names the way out."""

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.settle_in(lambda _: None)

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert "no transactions to share: return the result instead" in record.errors[-1].message
