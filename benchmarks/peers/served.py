"""
What the scripts of all contenders on PostgreSQL share; nothing but the standard library.

Who connects, pushes and runs a worker is a `Library`; how that is timed
stands here, once for all. Producer and worker share a process and its loop,
and no connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import islice
from time import perf_counter, process_time
from typing import Any, Protocol, TypeAlias

from benchmarks.peers.contest import Figures, mails

BULK = 500
"""Tasks in one call of `push_many`."""
WARM = 10
"""Samples that do not count: connections are opened and statements prepared."""
EVERY = 0.02
"""Seconds from push to push."""

Mails: TypeAlias = Sequence[dict[str, Any]]


class Library(Protocol):
    """One contender, connected."""

    async def push(self, mail: dict[str, Any], /) -> object:
        """Push one task; return when it is committed."""

    async def push_many(self, mails: Mails, /) -> object:
        """Push `BULK` tasks in one transaction."""

    def working(self, handled: Callable[[int], None], /) -> AbstractAsyncContextManager[object]:
        """
        Run a worker inside the block; behind it, every end is written.

        The handler calls *handled* with the mail's number, and answers
        ``"sent"`` where results are kept.
        """


class Loop(Protocol):
    """Who waits: `asyncio` or `anyio`."""

    def sleep(self, seconds: float, /) -> Awaitable[object]:
        """Wait so long."""

    def Event(self) -> Any:  # noqa: ANN401, N802 - a class, in both modules
        """Make an event to `wait` for, and to `set`."""


Opened: TypeAlias = Callable[[str, int], AbstractAsyncContextManager[Library]]
"""Connects to a DSN and makes the tables; says how many tasks may be taken, and run, at once."""


async def rates(opened: Opened, loop: Loop, most: int, tasks: int, alone: int, dsn: str) -> Figures:
    """
    Push *alone* tasks one by one and the others in bulk, then process all.

    Answers seconds per task. `process` is from the start of the worker
    until it has stopped, with every end written; `processor` is the
    processor time of this process meanwhile.
    """
    todo, seen, every = mails(tasks), 0, loop.Event()

    def handled(_number: int) -> None:
        nonlocal seen
        seen += 1
        if seen == tasks:
            every.set()

    async with opened(dsn, most) as library:
        start = perf_counter()
        for mail in islice(todo, alone):
            await library.push(mail)
        pushed = perf_counter()
        while part := [*islice(todo, BULK)]:
            await library.push_many(part)
        begin, used = perf_counter(), process_time()
        async with library.working(handled):
            await every.wait()
        end, used = perf_counter(), process_time() - used
    figures: Figures = {
        "push": (pushed - start) / alone,
        "process": (end - begin) / tasks,
        "processor": used / tasks,
    }
    return figures | ({"bulk": (begin - pushed) / (tasks - alone)} if tasks > alone else {})


async def latency(opened: Opened, loop: Loop, most: int, samples: int, dsn: str) -> Figures:
    """
    Push to a worker that has nothing else to do; answer p50 and p99 to the handler's start.

    From the call of `push` on, so the commit is a part of it.
    """
    pushed: list[float] = []
    started: dict[int, float] = {}
    every = loop.Event()

    def handled(number: int) -> None:
        started[number] = perf_counter()
        if len(started) == WARM + samples:
            every.set()

    async with opened(dsn, most) as library, library.working(handled):
        await loop.sleep(0.5)
        begin = perf_counter()
        for number, mail in enumerate(mails(WARM + samples)):
            await loop.sleep(max(0.0, begin + number * EVERY - perf_counter()))
            pushed.append(perf_counter())
            await library.push(mail)
        await every.wait()
    waited = sorted(started[number] - pushed[number] for number in range(WARM, len(pushed)))
    return {"p50": waited[samples // 2], "p99": waited[samples * 99 // 100]}


def cases(opened: Opened) -> dict[str, Callable[..., Figures]]:
    """Make the cases of a library on asyncio, as the command line names them."""

    def run(case: Callable[..., Any], *arguments: object) -> Figures:
        figures: Figures = asyncio.run(case(opened, asyncio, *arguments))
        return figures

    return {"rates": partial(run, rates), "latency": partial(run, latency)}
