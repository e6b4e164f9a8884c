"""
Tasks in PostgreSQL: one task for a key, a worker that hears of pushes at once, and a look at both.

Run it with ``python -m examples.postgres postgresql://user@host/database``. It makes the schema
``layered_example``, which you may drop afterwards.
"""

from __future__ import annotations

import sys

import anyio
import attrs

from layered import (
    Abort,
    Dedup,
    Filter,
    Inspector,
    OnConflict,
    PostgresStorage,
    Status,
    WorkerBuilder,
)


@attrs.frozen
class Email:
    """The arguments of a task."""

    to: str
    subject: str


async def send_email(email: Email) -> str | Abort:
    """Send one mail; another try would not help where there is no address."""
    if "@" not in email.to:
        return Abort(f"no address: {email.to}")
    return f"{email.subject} to {email.to}"


async def main(dsn: str, schema: str = "layered_example") -> None:
    """Push, work, and look what became of it; each could be a program on a machine of its own."""
    async with PostgresStorage.with_notify(dsn, Email, schema=schema) as storage:
        # Ada gets one mail, the newest, however many are pushed before it is sent.
        ada = await storage.push(Email("ada@example.org", "apples"), dedup="ada", delay=60)
        newest = Dedup("ada", OnConflict.REPLACE)
        pushed = await storage.push(Email("ada@example.org", "pears"), dedup=newest)
        print("replaced" if pushed.replaced and pushed.id == ada.id else "stored")

        worker = WorkerBuilder("mail").backend(storage).retry(3).timeout(30).build(send_email)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            print(await storage.result(ada.id, send_email, timeout=30))
            bob = await storage.push(Email("bob", "plums"))  # the worker is idle, and hears of it
            await storage.wait_for([bob.id], timeout=30)
            worker.context.stop()

        inspector = Inspector(storage)
        async for task in inspector.tasks(Filter(statuses=[Status.DEAD])):
            record = await storage.get(task.id)
            if record is not None:
                print(task.name, task.status.label, [error.message for error in record.errors])
        for name, counts in (await inspector.counts()).items():
            print(name, {status.label: count for status, count in sorted(counts.items())})


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
