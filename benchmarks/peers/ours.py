"""layered, and what one would write by hand, run as the peers are."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio

from benchmarks.mail import MAIL, Mail
from benchmarks.memory import ByHand, Store, never
from benchmarks.peers.contest import Figures, compete, durability
from benchmarks.sqlite import BATCH, send
from benchmarks.sqlite_floor import Floor
from layered import SqliteStorage, WorkerBuilder


async def _memory(store: Callable[..., Store], tasks: int, most: int, depth: int = 0) -> Figures:
    one = store(never, most, tasks, middlewares=depth)
    return {"push": await one.push(), "process": await one.process(), "total": await one.total()}


async def _sqlite(tasks: int) -> Figures:
    """Push one by one, then process; an end is written as the writer is set now."""
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStorage(Path(folder) / "ours.db", Mail) as storage:
            builder = WorkerBuilder("bench").backend(storage)
            worker = builder.configure(batch=BATCH, concurrency=BATCH).build(send)

            async def push() -> None:
                for _ in range(tasks):
                    await storage.push(MAIL)

            figures = await _timed(tasks, push, partial(worker.run, burst=True))
            writer = storage._writer  # noqa: SLF001 - what is in force stands nowhere else
            assert writer is not None
            return figures | await writer.run(durability)


async def _sqlite_by_hand(tasks: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        floor = Floor(Path(folder) / "floor.db")

        async def push() -> None:
            for _ in range(tasks):
                floor.push([MAIL])

        async def process() -> None:
            while rows := floor.claim(BATCH):
                floor.end([(row.seq, await send(row.payload)) for row in rows])

        figures = await _timed(tasks, push, process)
        floor.end(())  # the last claim was less durable than ends are
        figures |= durability(floor.connection)
        floor.close()
        return figures


async def _timed(
    tasks: int, push: Callable[[], Awaitable[None]], process: Callable[[], Awaitable[None]]
) -> Figures:
    start = perf_counter()
    await push()
    pushed = perf_counter()
    await process()
    return {"push": (pushed - start) / tasks, "process": (perf_counter() - pushed) / tasks}


def _on(
    loop: str, case: Callable[..., Awaitable[Figures]], *first: object
) -> Callable[..., Figures]:
    def run(*numbers: int) -> Figures:
        return anyio.run(partial(case, *first), *numbers, backend=loop)

    return run


if __name__ == "__main__":
    compete(
        {
            "memory-asyncio": _on("asyncio", _memory, Store),
            "memory-trio": _on("trio", _memory, Store),
            "memory-by-hand": _on("asyncio", _memory, ByHand),
            "sqlite-asyncio": _on("asyncio", _sqlite),
            "sqlite-trio": _on("trio", _sqlite),
            "sqlite-by-hand": _on("asyncio", _sqlite_by_hand),
        }
    )
