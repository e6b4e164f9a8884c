"""
How long from the call of `push` to the start of the handler, in an idle worker?

The floor is the least that somebody would write by hand in one loop. A push
makes an id, encodes, stores (a dict; one commit for SQLite) and sets an
event. A fetcher wakes up, takes the tasks (a deque; a claim, one commit)
and starts each in a task of its own, as a handler that waits must not hold
up the next; a new task also has a context of its own. There the arguments
are decoded and the handler called. Limits, leases and threads are left out:
SQLite works in the event loop's thread, which stands still meanwhile.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

import anyio

from benchmarks.mail import MAIL, Mail
from benchmarks.sqlite_floor import Floor, decode, encode
from benchmarks.table import Line, Table
from layered import MemoryStorage, SqliteStorage, Storage, WorkerBuilder
from layered.task import new_id

LOOPS = ("asyncio", "trio")
ROUNDS = 3
"""Of which the one with the least p50 counts; the four take turns."""
SAMPLES = 200
PAUSE = 0.002
"""Seconds between two pushes: by then the worker waits again."""
GOAL = 1.5
"""Times the floor, at p50."""


class Store(Protocol):
    """What the floor keeps tasks in."""

    def push(self, mail: Mail) -> None:
        """Keep a task."""

    def take(self) -> Sequence[Callable[[], Mail]]:
        """Take all tasks; calling one decodes it."""


class InMemory:
    """A dict and a deque."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}
        self._todo: deque[str] = deque()

    def push(self, mail: Mail) -> None:
        """Keep a task."""
        task_id = new_id()
        self._rows[task_id] = encode(mail)
        self._todo.append(task_id)

    def take(self) -> Sequence[Callable[[], Mail]]:
        """Take all tasks."""
        ids = [*self._todo]
        self._todo.clear()
        return [partial(self._decoded, task_id) for task_id in ids]

    def _decoded(self, task_id: str) -> Mail:
        return decode(self._rows.pop(task_id))


class InFile:
    """The floor of SQLite, which decodes when it takes."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def push(self, mail: Mail) -> None:
        """Keep a task."""
        self._floor.push([mail])

    def take(self) -> Sequence[Callable[[], Mail]]:
        """Take all tasks."""
        return [partial(getattr, row, "payload") for row in self._floor.claim(100)]


async def measure() -> list[Table]:
    """Compare both storages with their floors."""
    with tempfile.TemporaryDirectory() as name:
        floor = Floor(Path(name) / "floor.db")
        async with SqliteStorage(Path(name) / "ours.db", Mail) as storage:
            cases = {
                "memory, by hand": partial(_of_a_floor, InMemory()),
                "memory": partial(_of_a_worker, MemoryStorage(Mail)),
                "SQLite, by hand": partial(_of_a_floor, InFile(floor)),
                "SQLite": partial(_of_a_worker, storage),
            }
            rounds = [{kind: await case() for kind, case in cases.items()} for _ in range(ROUNDS)]
        floor.close()
    best = {kind: min((each[kind] for each in rounds), key=_median) for kind in cases}
    lines = [line for name in ("memory", "SQLite") for line in _lines(name, best)]
    return [Table("latency", "From push to the start of the handler, in an idle worker", lines)]


def _median(samples: Sequence[float]) -> float:
    return samples[SAMPLES // 2]


def _lines(name: str, best: Mapping[str, Sequence[float]]) -> list[Line]:
    ours, floor = best[name], best[f"{name}, by hand"]
    late = SAMPLES * 99 // 100
    return [
        Line(f"by hand, {name}, p50", _median(floor), whose="floor"),
        Line(f"layered, {name}, p50", _median(ours), _median(floor), times=GOAL, whose="ours"),
        Line(f"by hand, {name}, p99", floor[late]),
        Line(f"layered, {name}, p99", ours[late], floor[late]),
    ]


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


async def _of_a_floor(store: Store) -> list[float]:
    pushed = anyio.Event()
    started = 0.0

    async def handler(_mail: Mail) -> None:
        nonlocal started
        started = perf_counter()

    async def run(decoded: Callable[[], Mail]) -> None:
        await handler(decoded())

    async def fetch() -> None:
        nonlocal pushed
        while True:
            await pushed.wait()
            pushed = anyio.Event()
            for decoded in store.take():
                group.start_soon(run, decoded)

    async def push() -> float:
        start = perf_counter()
        store.push(MAIL)
        pushed.set()
        await anyio.sleep(PAUSE)
        return started - start

    async with anyio.create_task_group() as group:
        group.start_soon(fetch)
        await anyio.sleep(PAUSE)
        samples = await _sampled(push)
        group.cancel_scope.cancel()
    return samples


async def _sampled(push: Callable[[], Awaitable[float]]) -> list[float]:
    return sorted([await push() for _ in range(SAMPLES)])
