"""Makers for the tests of SQLite: storages, tasks, raw connections, a held writer."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from layered.backend import Claimant, Done, Settle
from layered.backends.sqlite import SqliteStorage
from layered.backends.sqlite.lane import Lane
from layered.service.clock import loop_poster
from layered.task import Draft, Lease, new_id
from tests.house.source import ROOT

ME = Claimant("default", "me")


def draft(payload: bytes = b"1", **fields: Any) -> Draft:
    """Make a task to insert."""
    return Draft(
        **{"id": new_id(), "queue": "default", "name": "str", "payload": payload, **fields}
    )


def writer(storage: SqliteStorage[Any]) -> Lane:
    """Answer the writer's lane."""
    lane = storage._writer
    assert lane is not None
    return lane


async def raw(storage: SqliteStorage[Any], statement: str) -> list[Any]:
    """Run a statement in the writer's thread."""
    return await writer(storage).run(lambda connection: connection.execute(statement).fetchall())


async def claim(storage: SqliteStorage[Any], most: int = 10) -> list[Lease]:
    """Claim tasks."""
    return list((await storage.claim(ME, {"str": most}, most)).leases)


def done(lease: Lease) -> Settle:
    """Make the settle of a run that ended well."""
    return Settle(lease.fence, Done(b"1"), 1)


def query(path: Path, statement: str) -> list[Any]:
    """Read or write over a connection of one's own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def run_together(program: str, path: Path, count: int) -> list[str]:
    """Run a program in several processes that begin at the same time; answer what they print."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=50) for process in processes]
    assert [stderr for _, stderr in ended if stderr] == []
    return [line for stdout, _ in ended for line in stdout.splitlines()]


@asynccontextmanager
async def held(lane: Lane, *, durable: bool = True) -> AsyncIterator[Callable[[], None]]:
    """Keep a lane's thread busy; gives the function that lets it go on."""
    busy, release = anyio.Event(), threading.Event()
    post = loop_poster()

    def wait(_: sqlite3.Connection) -> None:
        post(busy.set)
        release.wait(10)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(lane.run, wait, durable=durable))
        await busy.wait()
        try:
            yield release.set
        finally:
            release.set()


async def settled_down() -> None:
    """Let every other task of the loop run until it waits."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
