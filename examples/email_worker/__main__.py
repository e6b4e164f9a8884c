"""
The demo: 1,200 mails, a server that misbehaves, a worker killed half-way.

Ends with a report, and with status 1 if a mail was lost.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import tempfile
import time

import anyio

from examples.email_worker.message import Email, read_recipients
from examples.email_worker.processes import mail_server, worker_process
from examples.email_worker.progress import Progress
from examples.email_worker.report import (
    Ordered,
    Report,
    Row,
    deliverable,
    make_report,
    read_ledger,
)
from examples.email_worker.worker import STALE, MailServer, build_worker
from layered import SqliteStorage

LOOP = os.environ.get("LOOP", "asyncio")
TIME_LIMIT = 50.0
"""Seconds; what is not delivered by then counts as lost."""
TICK = 0.05
"""Seconds between two looks at the ledger."""


async def demo(folder: pathlib.Path) -> Report:
    """Push all, deliver all with two workers, one after the other, and compare."""
    ledger = folder / "ledger.jsonl"
    async with (
        SqliteStorage(folder / "tasks.db", Email) as storage,
        mail_server(ledger) as server,
    ):
        print(build_worker(storage, MailServer(server.port)).explain(), flush=True)
        orders = await push_all(storage, read_recipients())
        print(f"pushed {len(orders)} mails", flush=True)
        taken_over_at = time.time()
        with anyio.move_on_after(TIME_LIMIT):
            taken_over_at = await deliver(folder, server.port, orders)
        faults = await server.stop()
        return make_report(
            orders,
            read_ledger(ledger.read_text()),
            await read_rows(storage, orders),
            taken_over_at=taken_over_at,
            stale=len((folder / STALE).read_text().splitlines()),
            faults=faults,
        )


async def push_all(storage: SqliteStorage[Email], emails: list[Email]) -> list[Ordered]:
    """Push every row of the file, in one write."""
    now = time.time()
    answers = await storage.push_many(emails)
    return [
        Ordered(answer.id, email.to, now) for answer, email in zip(answers, emails, strict=True)
    ]


async def read_rows(storage: SqliteStorage[Email], orders: list[Ordered]) -> dict[str, Row]:
    """Read how each task ended."""
    records = await storage.fetch([order.task_id for order in orders])
    return {
        record.id: Row(
            record.status.label,
            record.attempt,
            record.errors[-1].message if record.errors else "",
        )
        for record in records
        if record is not None
    }


async def deliver(folder: pathlib.Path, port: int, orders: list[Ordered]) -> float:
    """
    Let one worker send half of the mails, kill it, and let another one finish.

    Returns:
        When the other worker took over, Unix time.
    """
    total = sum(deliverable(order.to) for order in orders)
    progress = Progress(total)

    def delivered() -> int:
        lines = read_ledger((folder / "ledger.jsonl").read_text())
        count = len({line.task_id for line in lines})
        progress.update(count)
        return count

    async with worker_process(folder, port) as first:
        # The ledger is another process's file: there is nothing to wait on.
        while delivered() < total // 2 and first.returncode is None:  # noqa: ASYNC110
            await anyio.sleep(TICK)
        if first.returncode is not None:
            sys.exit(f"worker {first.pid} ended by itself with status {first.returncode}")
        first.kill()
    progress.say(f"worker {first.pid} killed with SIGKILL; another takes over")
    taken_over_at = time.time()
    async with worker_process(folder, port) as second:
        while second.returncode is None:
            delivered()
            await anyio.sleep(TICK)
    delivered()
    progress.close()
    return taken_over_at


def main() -> int:
    """Run the demo in a folder of its own, which stays only if a mail was lost."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="email_worker-"))
    began = time.monotonic()
    report = anyio.run(demo, folder, backend=LOOP)
    print(f"\n{report}\n\nended after {time.monotonic() - began:.1f} s on {LOOP}")
    if report.lost:
        print(f"the files are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
