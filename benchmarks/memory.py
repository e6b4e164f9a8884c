"""
How many tasks a second go through `MemoryStorage`: pushed one by one, then processed?

The floor is written by hand for one loop: a dict, a deque and msgspec's
JSON. It has no delays, priorities, leases, retries or limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from uuid import uuid4

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from benchmarks.mail import Mail
from benchmarks.rounds import Case, fastest
from benchmarks.table import Line
from layered import MemoryStorage, WorkerBuilder

LOOPS = ("asyncio", "trio")
ROUNDS = 10
TASKS = 4000
GOAL = 1 / 92_000

MAILS: Sequence[Mail] = [Mail(each, f"{each}@example.org", "Hello") for each in range(TASKS)]


async def never(mail: Mail) -> None:
    """Do nothing, and never suspend."""


async def once(_mail: Mail) -> None:
    """Suspend once."""
    await checkpoint()


class Store:
    """Pushes and processes the same tasks, round by round, into a new storage each time."""

    def __init__(self, handler: Callable[[Mail], Awaitable[object]], concurrency: int) -> None:
        self._handler = handler
        self._concurrency = concurrency
        self._seconds = 0.0
        self._storage = MemoryStorage(Mail)

    async def push(self) -> float:
        """Push one by one; answer seconds per task."""
        self._storage = storage = MemoryStorage(Mail)
        start = perf_counter()
        for mail in MAILS:
            await storage.push(mail)
        self._seconds = (perf_counter() - start) / TASKS
        return self._seconds

    async def process(self) -> float:
        """Process what was pushed; answer seconds per task."""
        builder = WorkerBuilder("bench").backend(self._storage)
        worker = builder.configure(concurrency=self._concurrency).build(self._handler)
        start = perf_counter()
        await worker.run(burst=True)
        seconds = (perf_counter() - start) / TASKS
        self._seconds += seconds
        return seconds

    async def total(self) -> float:
        """Answer the seconds per task of the last push and process."""
        return self._seconds


class ByHand(Store):
    """The same without a framework."""

    async def push(self) -> float:
        """Encode, and keep by id."""
        rows = self._rows = dict[str, bytes]()
        todo = self._todo = deque[str]()
        encode = msgspec.json.Encoder().encode
        start = perf_counter()
        for mail in MAILS:
            task_id = str(uuid4())
            rows[task_id] = encode(mail)
            todo.append(task_id)
        self._seconds = (perf_counter() - start) / TASKS
        return self._seconds

    async def process(self) -> float:
        """Have consumers decode, handle, and note the end."""
        rows, todo, handler = self._rows, self._todo, self._handler
        decode = msgspec.json.Decoder(Mail).decode
        ended: dict[str, object] = {}

        async def consume() -> None:
            while todo:
                task_id = todo.popleft()
                ended[task_id] = await handler(decode(rows[task_id]))

        start = perf_counter()
        async with anyio.create_task_group() as crew:
            for _ in range(self._concurrency):
                crew.start_soon(consume)
        seconds = (perf_counter() - start) / TASKS
        assert len(ended) == TASKS
        self._seconds += seconds
        return seconds


async def measure() -> list[Line]:
    """Compare, at concurrency 10 and 100, for a handler that never and one that once suspends."""
    cases: dict[str, Case] = {}
    ways = [(handler, most) for handler in (never, once) for most in (10, 100)]
    for handler, most in ways:
        name = f"{handler.__name__} {most}"
        for kind, store in (("", Store(handler, most)), (" floor", ByHand(handler, most))):
            cases[f"{name} push{kind}"] = store.push
            cases[f"{name} process{kind}"] = store.process
            cases[f"{name} total{kind}"] = store.total
    best = await fastest(cases, ROUNDS)
    lines = []
    for handler, most in ways:
        name = f"{handler.__name__} {most}"
        goal = GOAL if (handler, most) == (never, 100) else None
        lines += [
            Line(
                f"by hand, concurrency {most}, suspends {handler.__name__}",
                best[f"{name} total floor"],
            ),
            Line("  push", best[f"{name} push"], best[f"{name} push floor"]),
            Line("  process", best[f"{name} process"], best[f"{name} process floor"]),
            Line(
                "  push and process", best[f"{name} total"], best[f"{name} total floor"], most=goal
            ),
        ]
    return lines
