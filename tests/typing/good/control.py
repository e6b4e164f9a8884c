"""Control: typed results, steps that run once, and the inspector."""

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import assert_type

import attrs

from layered import (
    Abort,
    Change,
    Dedup,
    Filter,
    Inspector,
    MemoryStorage,
    NotDone,
    OnConflict,
    Page,
    Queue,
    RetryAfter,
    Snooze,
    Status,
    Storage,
    Summary,
    TaskId,
    WorkerContext,
    WorkerInfo,
)

log = logging.getLogger("mail")


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Receipt:
    number: int


async def send(email: Email, task_id: TaskId) -> Receipt:
    return Receipt(len(task_id))


async def careful(email: Email) -> str | Abort | RetryAfter | Snooze:
    return Abort("no address")


async def forget(email: Email) -> None:
    return


def render(email: Email) -> dict[str, int]:
    return {email.to: 1}


def render_later(email: Email) -> bytes | Snooze:
    return Snooze(5)


class Sender:
    async def send(self, email: Email) -> float | None:
        return None


async def results(storage: Storage[Email], task_id: str) -> None:
    assert_type(await storage.result(task_id, send), Receipt)
    assert_type(await storage.result(task_id, careful, timeout=5), str)
    assert_type(await storage.result(task_id, render), dict[str, int])
    assert_type(await storage.result(task_id, render_later), bytes)
    assert_type(await storage.result(task_id, Sender().send), float | None)
    assert_type(await storage.result(task_id, partial(send, task_id="")), Receipt)
    await storage.result(task_id, forget)
    assert_type(await storage.result(task_id, Receipt), Receipt)
    assert_type(await storage.result(task_id, list[Receipt]), list[Receipt])
    assert_type(await storage.result(task_id, Receipt | None), Receipt | None)
    try:
        await storage.result(task_id, str)
    except NotDone as error:
        assert_type(error.status, Status)


async def charge(amount: int, *, currency: str = "EUR") -> Receipt:
    return Receipt(amount)


async def handler(email: Email, ctx: WorkerContext) -> Receipt:
    await ctx.progress({"sent": 0.5})
    assert_type(await ctx.checkpoint("number", int, 5), int)
    assert_type(await ctx.checkpoint("all", list[Receipt], []), list[Receipt])
    receipt = await ctx.once("charge", charge, 5)
    assert_type(receipt, Receipt)
    return receipt


async def dedup(storage: Storage[Email], email: Email) -> None:
    await storage.push(email, dedup="ada")
    pushed = await storage.push(email, dedup=Dedup("ada", OnConflict.REPLACE, window=60))
    assert_type(pushed.replaced, bool)


async def main() -> None:
    inspector = Inspector(MemoryStorage(Email))
    soon = datetime.now(UTC) + timedelta(minutes=5)
    failed = Filter(queue="mail", names=["Email"], statuses={Status.DEAD}, until=soon)
    async for task in inspector.tasks(failed):
        assert_type(task, Summary)
    assert_type(await inspector.page(limit=5), Page)
    assert_type(await inspector.cancel("0"), Change)
    assert_type(await inspector.requeue("0"), Change)
    assert_type(await inspector.requeue_all(failed), int)
    assert_type(await inspector.cancel_all(Filter()), int)
    await inspector.pause("mail", until=soon)
    await inspector.resume()
    for queue in await inspector.queues():
        assert_type(queue, Queue)
    for worker in await inspector.workers():
        assert_type(worker, WorkerInfo)
        log.info("%s", [worker.stack, worker.alive])
    assert_type(await inspector.progress("0", dict[str, float]), dict[str, float] | None)
