"""chancy: fetches many, and writes ends once a second."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from chancy import (  # type: ignore[import-not-found] # installed for the run only
    Chancy,
    Job,
    Queue,
    Worker,
)

from benchmarks.peers.contest import compete
from benchmarks.peers.served import Mails, cases


def ignored(_number: int) -> None:
    """Stand in for what notes that a mail was handled."""


class ChancyLibrary:
    """An app that pushes, and one that works."""

    handled: Callable[[int], None] = staticmethod(ignored)
    """Of this process: the library finds handlers by their import path only."""

    def __init__(self, pushes: Any, works: Any) -> None:  # noqa: ANN401 - untyped
        self._pushes = pushes
        self._works = works

    async def push(self, mail: dict[str, Any]) -> None:
        """Push one."""
        await self._pushes.push(Job.from_func(send).with_kwargs(**mail))

    async def push_many(self, mails: Mails) -> None:
        """Push many in one transaction."""
        jobs = [Job.from_func(send).with_kwargs(**mail) for mail in mails]
        async for _ in self._pushes.push_many(jobs):
            pass

    @asynccontextmanager
    async def working(self, handled: Callable[[int], None]) -> AsyncIterator[None]:
        """Run a worker with its default plugins."""
        ChancyLibrary.handled = staticmethod(handled)
        async with Worker(self._works, register_signal_handlers=False):
            yield


async def send(id: int, to: str, subject: str) -> None:  # noqa: A002, ARG001 - as elsewhere
    """Handle a mail."""
    ChancyLibrary.handled(id)


@asynccontextmanager
async def opened(dsn: str, concurrency: int) -> AsyncIterator[ChancyLibrary]:
    """Make the tables and a queue that is looked at again after each task."""
    log = logging.getLogger("chancy")
    log.setLevel(logging.WARNING)
    async with Chancy(dsn, log=log) as pushes, Chancy(dsn, log=log) as works:
        await pushes.migrate()
        executor = Chancy.Executor.Async
        queue = Queue("default", executor=executor, concurrency=concurrency, eager_polling=True)
        await pushes.declare(queue)
        yield ChancyLibrary(pushes, works)


if __name__ == "__main__":
    compete(cases(opened))
