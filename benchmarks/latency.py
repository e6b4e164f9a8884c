"""
How long from the call of `push` to the start of the handler, in an idle worker?

The floor is written by hand in one loop: in memory a deque and an event;
for SQLite an insert and a claim, each a commit, and then the event.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import anyio

from benchmarks.mail import MAIL, Mail
from benchmarks.sqlite_floor import Floor
from benchmarks.table import Line
from layered import MemoryStorage, SqliteStorage, Storage, WorkerBuilder

LOOPS = ("asyncio", "trio")
SAMPLES = 300
PAUSE = 0.002
"""Seconds between two pushes: by then the worker waits again."""


async def measure() -> list[Line]:
    """Compare both storages with their floors."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = MemoryStorage(Mail)
        by_hand = await _of_a_floor(None)
        ours = await _of_a_worker(memory)
        floor = Floor(folder / "floor.db")
        by_hand_sqlite = await _of_a_floor(floor)
        floor.close()
        async with SqliteStorage(folder / "ours.db", Mail) as storage:
            ours_sqlite = await _of_a_worker(storage)
    return [
        *_lines("memory", ours, by_hand),
        *_lines("SQLite", ours_sqlite, by_hand_sqlite),
    ]


def _lines(name: str, ours: list[float], floor: list[float]) -> list[Line]:
    lines = []
    for share in (50, 99):
        at = SAMPLES * share // 100
        lines += [
            Line(f"{name}, p{share}, by hand", floor[at]),
            Line(f"{name}, p{share}", ours[at], floor[at]),
        ]
    return lines


async def _of_a_worker(storage: Storage[Mail]) -> list[float]:
    started = 0.0

    async def handler(_mail: Mail) -> None:
        nonlocal started
        started = perf_counter()

    async def push() -> float:
        start = perf_counter()
        await storage.push(MAIL)
        await anyio.sleep(PAUSE)
        return started - start

    worker = WorkerBuilder("bench").backend(storage).build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(10 * PAUSE)
        samples = await _sampled(push)
        worker.context.stop()
    return samples


async def _of_a_floor(floor: Floor | None) -> list[float]:
    todo: deque[Mail] = deque()
    pushed = anyio.Event()
    started = 0.0

    async def work() -> None:
        nonlocal pushed, started
        while True:
            await pushed.wait()
            pushed = anyio.Event()
            if floor is not None:
                ((_, mail),) = floor.claim(1)
                todo.append(mail)
            todo.popleft()
            started = perf_counter()

    async def push() -> float:
        start = perf_counter()
        if floor is None:
            todo.append(MAIL)
        else:
            floor.push([MAIL])
        pushed.set()
        await anyio.sleep(PAUSE)
        return started - start

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.sleep(PAUSE)
        samples = await _sampled(push)
        group.cancel_scope.cancel()
    return samples


async def _sampled(push: Callable[[], Awaitable[float]]) -> list[float]:
    return sorted([await push() for _ in range(SAMPLES)])
