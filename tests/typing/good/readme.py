"""The programs of the README."""

import logging
from functools import partial
from time import perf_counter
from typing import TypeVar, assert_type

import attrs

from layered import (
    Attempt,
    ConcurrencyLimitLayer,
    Data,
    MemoryStorage,
    Middleware,
    RetryLayer,
    Service,
    SqliteStorage,
    TimeoutLayer,
    TracingLayer,
    Worker,
    WorkerBuilder,
)

log = logging.getLogger("mail")
Req = TypeVar("Req")
Res = TypeVar("Res")


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Mailer:
    sender: str


class Timing(Middleware[Req, Res]):
    def __init__(self, inner: Service[Req, Res], slow: float = 1.0) -> None:
        super().__init__(inner)
        self.slow = slow

    async def call(self, request: Req, /) -> Res:
        start = perf_counter()
        try:
            return await self.inner.call(request)
        finally:
            if perf_counter() - start > self.slow:
                log.warning("%r was slow", request)


async def send_email(email: Email, mailer: Data[Mailer], attempt: Attempt) -> str:
    assert_type(mailer, Mailer)
    assert_type(attempt, int)
    return f"{mailer.sender} to {email.to}, attempt {attempt}"


async def main() -> None:
    async with MemoryStorage(Email) as storage:
        assert_type(storage, MemoryStorage[Email])
        await storage.push(Email("ada@example.org"))
        worker = (
            WorkerBuilder("mail")
            .backend(storage)
            .data(Mailer("newton@example.org"))
            .layer(TracingLayer())
            .layer(Timing)
            .layer(partial(Timing, slow=2.0))
            .layer(ConcurrencyLimitLayer(20))
            .layer(RetryLayer(stop=3))
            .layer(TimeoutLayer(30))
            .build(send_email)
        )
        assert_type(worker, Worker[Email, str])
        await worker.run(burst=True)


async def durable() -> None:
    async with SqliteStorage("tasks.db", Email) as storage:
        worker = WorkerBuilder("mail").backend(storage).retry(3).timeout(30).build(notify)
        assert_type(worker, Worker[Email, None])
        worker.run_sync(until_empty=True)


async def notify(email: Email) -> None:
    log.info("%s", email.to)
