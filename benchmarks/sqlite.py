"""
How many tasks a second go through `SqliteStorage`, every push and every end safe on the disk?

Pushes are a commit each, 500 to a commit, and of 50 pushers at once, which
share commits. The floor of these is one pusher who waits for each commit;
a second line tells the floor beforehand to commit 50 together.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import anyio

from benchmarks.mail import MAIL, Mail
from benchmarks.rounds import Case, fastest
from benchmarks.sqlite_floor import Floor
from benchmarks.table import Line, Table
from layered import SqliteStorage, WorkerBuilder

LOOPS = ("asyncio", "trio")
ROUNDS = 6
ALONE, BULK, PUSHERS, EACH = 200, 500, 50, 10
BULKS = 5
BATCH = 100
ALL = ALONE + BULK * BULKS + PUSHERS * EACH


async def send(_mail: Mail) -> str:
    """Answer a result."""
    return "sent"


class Ours:
    """The steps of one round."""

    def __init__(self, storage: SqliteStorage[Mail]) -> None:
        self._storage = storage
        builder = WorkerBuilder("bench").backend(storage)
        self._worker = builder.configure(batch=BATCH, concurrency=BATCH).build(send)

    async def alone(self) -> None:
        """Push one by one."""
        for _ in range(ALONE):
            await self._storage.push(MAIL)

    async def bulk(self) -> None:
        """Push many in one write."""
        for _ in range(BULKS):
            await self._storage.push_many([MAIL] * BULK)

    async def crowd(self) -> None:
        """Push from many tasks at once."""

        async def pusher() -> None:
            for _ in range(EACH):
                await self._storage.push(MAIL)

        async with anyio.create_task_group() as pushers:
            for _ in range(PUSHERS):
                pushers.start_soon(pusher)

    async def process(self) -> None:
        """Process all that was pushed."""
        await self._worker.run(burst=True)


class ByHand:
    """The same steps on the floor."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    async def alone(self) -> None:
        """Push one by one."""
        for _ in range(ALONE):
            self._floor.push([MAIL])

    async def bulk(self) -> None:
        """Push many in one write."""
        for _ in range(BULKS):
            self._floor.push([MAIL] * BULK)

    async def crowd(self) -> None:
        """Push as many in a commit as there are pushers."""
        for _ in range(EACH):
            self._floor.push([MAIL] * PUSHERS)

    async def process(self) -> None:
        """Process all that was pushed."""
        while claimed := self._floor.claim(BATCH):
            self._floor.end([(row.seq, await send(row.payload)) for row in claimed])


async def measure() -> list[Table]:
    """Compare, step by step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor = Floor(folder / "floor.db")
        async with SqliteStorage(folder / "ours.db", Mail) as storage:
            cases = {"fsync": _fsync(folder / "file")}
            for kind, steps in (("ours", Ours(storage)), ("floor", ByHand(floor))):
                cases[f"{kind} alone"] = _timed(steps.alone, ALONE)
                cases[f"{kind} bulk"] = _timed(steps.bulk, BULKS * BULK)
                cases[f"{kind} crowd"] = _timed(steps.crowd, PUSHERS * EACH)
                cases[f"{kind} process"] = _timed(steps.process, ALL)
            best = await fastest(cases, ROUNDS)
        floor.close()
    lines = [Line("fsync of 4 KB", best["fsync"])]
    for step, what, beside, times in (
        ("alone", "push, a commit each", "alone", None),
        ("bulk", f"push {BULK} at a time", "bulk", 3.0),
        ("crowd", f"push from {PUSHERS} tasks at once", "alone", 1 / 4),
        ("process", f"process, batches of {BATCH}, results kept", "process", 3.0),
    ):
        by_hand = f"push {PUSHERS} at a time" if step == "crowd" else what
        lines += [
            Line(f"{by_hand}, by hand", best[f"floor {step}"]),
            Line(what, best[f"ours {step}"], best[f"floor {beside}"], times=times),
        ]
    return [Table("sqlite", "Tasks through SqliteStorage, synchronous=FULL", lines, rates=True)]


def _timed(step: Callable[[], Awaitable[None]], tasks: int) -> Case:
    async def one() -> float:
        start = perf_counter()
        await step()
        return (perf_counter() - start) / tasks

    return one


def _fsync(path: Path) -> Case:
    async def one() -> float:
        file = os.open(path, os.O_CREAT | os.O_WRONLY)
        try:
            os.write(file, bytes(4096))
            start = perf_counter()
            os.fsync(file)
            return perf_counter() - start
        finally:
            os.close(file)

    return one
