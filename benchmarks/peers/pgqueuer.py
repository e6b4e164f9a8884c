"""pgqueuer: what has ended moves from its queue into its log, a batch at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped] # as it comes
from pgqueuer import PgQueuer  # type: ignore[import-not-found] # installed for the run only
from pgqueuer.queries import Queries  # type: ignore[import-not-found] # the same

from benchmarks.peers.contest import compete
from benchmarks.peers.served import Mails, cases


class PgqueuerLibrary:
    """One pool for pushes, one for the worker."""

    def __init__(self, pushes: Any, works: Any, batch: int) -> None:  # noqa: ANN401 - untyped
        self._queries = Queries.from_asyncpg_pool(pushes)
        self._works = works
        self._batch = batch

    async def push(self, mail: dict[str, Any]) -> None:
        """Push one."""
        await self._queries.enqueue("send", json.dumps(mail).encode())

    async def push_many(self, mails: Mails) -> None:
        """Push many in one statement."""
        payloads = [json.dumps(mail).encode() for mail in mails]
        await self._queries.enqueue(["send"] * len(mails), payloads, [0] * len(mails))

    @asynccontextmanager
    async def working(self, handled: Callable[[int], None]) -> AsyncIterator[None]:
        """Run a worker; no limit of tasks at once, as its own must be twice the batch."""
        queuer = PgQueuer.from_asyncpg_pool(self._works)

        @queuer.entrypoint("send")  # type: ignore[untyped-decorator] # as untyped as the library
        async def send(job: Any) -> None:  # noqa: ANN401 - untyped
            handled(json.loads(job.payload)["id"])

        running = asyncio.create_task(queuer.run(batch_size=self._batch))
        try:
            yield
        finally:
            queuer.shutdown.set()
            await running


@asynccontextmanager
async def opened(dsn: str, batch: int) -> AsyncIterator[PgqueuerLibrary]:
    """Make the tables, and two pools."""
    async with asyncpg.create_pool(dsn) as pushes, asyncpg.create_pool(dsn) as works:
        await Queries.from_asyncpg_pool(pushes).install()
        yield PgqueuerLibrary(pushes, works, batch)


if __name__ == "__main__":
    compete(cases(opened))
