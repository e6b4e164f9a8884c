"""saq: a row for each task, whose state and result are written one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue, Worker  # type: ignore[import-not-found] # installed for the run only

from benchmarks.peers.contest import compete
from benchmarks.peers.served import Mails, cases


class SaqLibrary:
    """A queue that pushes, and one that works."""

    def __init__(self, pushes: Any, works: Any, concurrency: int) -> None:  # noqa: ANN401 - untyped
        self._pushes = pushes
        self._works = works
        self._concurrency = concurrency

    async def push(self, mail: dict[str, Any]) -> None:
        """Push one."""
        await self._pushes.enqueue("send", **mail)

    async def push_many(self, mails: Mails) -> None:
        """Do not: it has nothing of the kind."""
        raise NotImplementedError

    @asynccontextmanager
    async def working(self, handled: Callable[[int], None]) -> AsyncIterator[None]:
        """Run a worker; stopping, it would cancel, so first all must have ended."""

        async def send(_context: object, *, id: int, to: str, subject: str) -> str:  # noqa: A002, ARG001 - as elsewhere
            handled(id)
            return "sent"

        worker = Worker(self._works, [("send", send)], concurrency=self._concurrency)
        running = asyncio.create_task(worker.start())
        try:
            yield
            while await self._pushes.count("incomplete"):  # noqa: ASYNC110 - only counting tells
                await asyncio.sleep(0.01)
        finally:
            await worker.stop()
            await running


@asynccontextmanager
async def opened(dsn: str, concurrency: int) -> AsyncIterator[SaqLibrary]:
    """Make the tables, and two queues with a pool each."""
    pushes, works = Queue.from_url(dsn), Queue.from_url(dsn)
    await pushes.connect()
    await works.connect()
    yield SaqLibrary(pushes, works, concurrency)
    await works.disconnect()
    await pushes.disconnect()


if __name__ == "__main__":
    compete(cases(opened))
