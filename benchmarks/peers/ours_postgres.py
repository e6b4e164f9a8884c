"""layered on PostgreSQL, and what one would write by hand, run as the peers are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from benchmarks.mail import Mail
from benchmarks.peers.contest import Figures, compete
from benchmarks.peers.served import Mails, cases, latency, rates
from benchmarks.postgres_floor import Fair, Plain
from layered import PostgresStorage, WorkerBuilder


class Layered:
    """One storage pushes, one works."""

    def __init__(
        self, pushes: PostgresStorage[Mail], works: PostgresStorage[Mail], most: int
    ) -> None:
        self._pushes = pushes
        self._builder = (
            WorkerBuilder("bench").backend(works).configure(batch=most, concurrency=most)
        )

    async def push(self, mail: dict[str, Any]) -> None:
        """Push one."""
        await self._pushes.push(Mail(**mail))

    async def push_many(self, mails: Mails) -> None:
        """Push many in one statement."""
        await self._pushes.push_many([Mail(**mail) for mail in mails])

    @asynccontextmanager
    async def working(self, handled: Callable[[int], None]) -> AsyncIterator[None]:
        """Run a worker."""

        async def send(mail: Mail) -> str:
            handled(mail.id)
            return "sent"

        worker = self._builder.build(send)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            yield
            worker.context.stop()


@asynccontextmanager
async def opened(
    make: Callable[..., PostgresStorage[Mail]], dsn: str, most: int
) -> AsyncIterator[Layered]:
    """Make the schema, and two storages."""
    async with make(dsn, Mail) as pushes, make(dsn, Mail) as works:
        yield Layered(pushes, works, most)


def on(loop: str, make: Callable[..., PostgresStorage[Mail]]) -> dict[str, Callable[..., Figures]]:
    """Make the cases of ours, on a loop."""

    def run(case: Callable[..., Any], *arguments: object) -> Figures:
        return anyio.run(partial(case, partial(opened, make), anyio, *arguments), backend=loop)

    return {"rates": partial(run, rates), "latency": partial(run, latency)}


CASES = {
    f"{who}-{what}": case
    for who, both in {
        "asyncio": on("asyncio", PostgresStorage),
        "trio": on("trio", PostgresStorage),
        "asyncio-notify": on("asyncio", PostgresStorage.with_notify),
        "trio-notify": on("trio", PostgresStorage.with_notify),
        "plain": cases(Plain.opened),
        "fair": cases(Fair.opened),
    }.items()
    for what, case in both.items()
}

if __name__ == "__main__":
    compete(CASES)
