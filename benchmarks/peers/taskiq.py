"""taskiq: its broker for tests runs tasks in the process, without a queue."""

from __future__ import annotations

import asyncio
from itertools import islice
from time import perf_counter
from typing import Any

import taskiq  # type: ignore[import-not-found] # installed for the run only

from benchmarks.peers.contest import Figures, compete, mails


class Nothing(taskiq.TaskiqMiddleware):  # type: ignore[misc] # as untyped as the library
    """Does nothing around the handler."""

    async def pre_execute(self, message: Any) -> Any:  # noqa: ANN401 - untyped
        """Pass on the message."""
        return message

    async def post_execute(self, message: Any, result: Any) -> None:  # noqa: ANN401 - untyped
        """Let the result be."""


async def send(id: int, to: str, subject: str) -> None:  # noqa: A002 - as elsewhere
    """Do nothing."""


def memory(tasks: int, concurrency: int, middlewares: int = 0) -> Figures:
    """
    Push so many at a time, each an asyncio task, and wait for them.

    The broker itself sets no limit; waiting now and then is faster than
    having all tasks there at once.
    """
    broker = taskiq.InMemoryBroker(max_async_tasks=concurrency)
    return asyncio.run(_through(broker, tasks, concurrency, middlewares))


def inplace(tasks: int) -> Figures:
    """Have each push run the handler."""
    return asyncio.run(_through(taskiq.InMemoryBroker(await_inplace=True), tasks, tasks, 0))


async def _through(broker: Any, tasks: int, most: int, middlewares: int) -> Figures:  # noqa: ANN401 - untyped
    broker.add_middlewares(*(Nothing() for _ in range(middlewares)))
    task = broker.task(send)
    await broker.startup()
    start = perf_counter()
    todo = mails(tasks)
    while part := [*islice(todo, most)]:
        for mail in part:
            await task.kiq(**mail)
        await broker.wait_all()
    seconds = perf_counter() - start
    await broker.shutdown()
    return {"total": seconds / tasks}


if __name__ == "__main__":
    compete({"memory": memory, "inplace": inplace})
