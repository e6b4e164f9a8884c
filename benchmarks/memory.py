"""
How many tasks a second go through `MemoryStorage`: pushed one by one, then processed?

The floor is written by hand for one loop: a dict, a deque, the same ids and
msgspec's JSON. It has no delays, priorities, leases, retries, limits or
contexts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from benchmarks.mail import SUBJECT, Mail, Nothing
from benchmarks.rounds import Case, fastest
from benchmarks.table import Line, Table
from layered import MemoryStorage, WorkerBuilder
from layered.task import new_id

LOOPS = ("asyncio", "trio")
ROUNDS = 10
TASKS = 4000


async def never(mail: Mail) -> None:
    """Do nothing, and never suspend."""


async def once(_mail: Mail) -> None:
    """Suspend once."""
    await checkpoint()


class Store:
    """
    Pushes and processes the same tasks, round by round, into a new storage each time.

    Args:
        handler: Handles them.
        concurrency: How many at a time.
        tasks: How many there are.
        middlewares: Around the handler; they do nothing.
    """

    def __init__(
        self,
        handler: Callable[[Mail], Awaitable[object]],
        concurrency: int,
        tasks: int = TASKS,
        *,
        middlewares: int = 0,
    ) -> None:
        self._handler = handler
        self._concurrency = concurrency
        self._mails = [Mail(each, f"{each}@example.org", SUBJECT) for each in range(tasks)]
        self._middlewares = middlewares
        self._seconds = 0.0
        self._storage = MemoryStorage(Mail)

    async def push(self) -> float:
        """Push one by one; answer seconds per task."""
        self._storage = storage = MemoryStorage(Mail)
        start = perf_counter()
        for mail in self._mails:
            await storage.push(mail)
        self._seconds = (perf_counter() - start) / len(self._mails)
        return self._seconds

    async def process(self) -> float:
        """Process what was pushed; answer seconds per task."""
        builder = WorkerBuilder("bench").backend(self._storage)
        builder = builder.configure(concurrency=self._concurrency)
        for _ in range(self._middlewares):
            builder = builder.layer(Nothing)
        worker = builder.build(self._handler)
        start = perf_counter()
        await worker.run(burst=True)
        seconds = (perf_counter() - start) / len(self._mails)
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
        for mail in self._mails:
            task_id = new_id()
            rows[task_id] = encode(mail)
            todo.append(task_id)
        self._seconds = (perf_counter() - start) / len(self._mails)
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
        seconds = (perf_counter() - start) / len(self._mails)
        assert len(ended) == len(self._mails)
        self._seconds += seconds
        return seconds


async def measure() -> list[Table]:
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
        what = f"concurrency {most}, suspends {handler.__name__}"
        lines.append(Line(f"by hand, {what}", best[f"{name} total floor"]))
        for step, label in (
            ("push", "push"),
            ("process", "process"),
            ("total", "push and process"),
        ):
            lines.append(Line(f"  {label}", best[f"{name} {step}"], best[f"{name} {step} floor"]))
    return [Table("memory", "Tasks through MemoryStorage, pushed one by one", lines, rates=True)]
