"""procrastinate: a row for each task, fetched one by one, with a table of its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import procrastinate  # type: ignore[import-not-found] # installed for the run only

from benchmarks.peers.contest import compete
from benchmarks.peers.served import Mails, cases


class ProcrastinateLibrary:
    """An app that pushes, and one that works."""

    def __init__(self, pushes: Any, works: Any, concurrency: int) -> None:  # noqa: ANN401 - untyped
        self._send = pushes.configure_task("send")
        self._works = works
        self._concurrency = concurrency

    async def push(self, mail: dict[str, Any]) -> None:
        """Push one."""
        await self._send.defer_async(**mail)

    async def push_many(self, mails: Mails) -> None:
        """Push many in one statement."""
        await self._send.batch_defer_async(*mails)

    @asynccontextmanager
    async def working(self, handled: Callable[[int], None]) -> AsyncIterator[None]:
        """Run a worker; cancelled, it ends what it has begun."""

        @self._works.task(name="send")  # type: ignore[untyped-decorator] # as untyped as the library
        async def send(id: int, to: str, subject: str) -> None:  # noqa: A002, ARG001 - as elsewhere
            handled(id)

        running = asyncio.create_task(
            self._works.run_worker_async(
                concurrency=self._concurrency, install_signal_handlers=False
            )
        )
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@asynccontextmanager
async def opened(dsn: str, concurrency: int) -> AsyncIterator[ProcrastinateLibrary]:
    """Make the tables, and two apps with a pool each."""
    pushes, works = (
        procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn)) for _ in range(2)
    )
    async with pushes.open_async(), works.open_async():
        await pushes.schema_manager.apply_schema_async()
        yield ProcrastinateLibrary(pushes, works, concurrency)


if __name__ == "__main__":
    compete(cases(opened))
