"""The row of the cancellation page that no other test shows."""

import sqlite3
from pathlib import Path

import anyio
import attrs

from layered import SqliteStorage, Status, WorkerBuilder, WorkerContext


@attrs.frozen
class Email:
    to: str


async def test_task_that_has_settled_itself_is_not_cancelled(tmp_path: Path) -> None:
    """From its own settle on a user's cancel finds nothing to cancel."""
    settled, go_on = anyio.Event(), anyio.Event()

    def effect(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE mails (recipient TEXT)")

    async def send_email(email: Email, ctx: WorkerContext) -> None:
        await ctx.settle_in(effect, email.to)
        settled.set()
        await go_on.wait()

    async with SqliteStorage(tmp_path / "tasks.db", Email) as storage:
        pushed = await storage.push(Email("ada@example.org"))
        worker = WorkerBuilder("mail").backend(storage).build(send_email)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await settled.wait()
            cancelled = worker.context.cancel(pushed.id)
            go_on.set()
            worker.context.stop()
        record = await storage.get(pushed.id)

    assert not cancelled
    assert record is not None
    assert (record.status, record.result_as(str)) == (Status.DONE, "ada@example.org")
