"""Every way to put a layer into a worker's stack."""

import logging
from functools import partial
from typing import Any, TypeVar

import attrs

from layered import (
    CatchLayer,
    Identity,
    Layer,
    MemoryStorage,
    Middleware,
    Service,
    Stack,
    Task,
    WorkerBuilder,
    layer_fn,
    map_error,
)

log = logging.getLogger("mail")
Req = TypeVar("Req")
Res = TypeVar("Res")
R = TypeVar("R")


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Sms:
    number: str


class Timing(Middleware[Req, Res]):
    """Generic: around any request."""

    def __init__(self, inner: Service[Req, Res], slow: float = 1.0) -> None:
        super().__init__(inner)
        self.slow = slow

    async def call(self, request: Req, /) -> Res:
        return await self.inner.call(request)


class Unchanged(Middleware[Req, Res]):
    """Nothing overridden."""


class Audit(Middleware[Task[Any], Res]):
    """Around tasks of any type."""

    async def call(self, request: Task[Any], /) -> Res:
        log.info("%s", [request.id, request.name, request.attempt])
        return await self.inner.call(request)


class Domain(Middleware[Task[Email], Res]):
    """Around tasks of one type; may change the arguments."""

    async def call(self, request: Task[Email], /) -> Res:
        to = request.args.to.lower()
        return await self.inner.call(request.replace(attrs.evolve(request.args, to=to)))


@attrs.frozen
class AuditLayer:
    """A configuration object that needs tasks."""

    prefix: str

    def layer(self, inner: Service[Task[Email], R], /) -> Service[Task[Email], R]:
        return Domain(inner)


@attrs.frozen
class TimingLayer:
    """A configuration object for any request."""

    slow: float

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        return Timing(inner, self.slow)


def timed(inner: Service[Req, Res], /) -> Service[Req, Res]:
    return Timing(inner)


def timed_tasks(inner: Service[Task[Email], R], /) -> Service[Task[Email], R]:
    return Timing(inner)


async def send_email(email: Email) -> str:
    return email.to


builder = WorkerBuilder("mail").backend(MemoryStorage(Email))
builder = (
    builder.layer(Timing)
    .layer(partial(Timing, slow=2.0))
    .layer(Unchanged)
    .layer(Audit)
    .layer(Domain)
    .layer(AuditLayer("mail"))
    .layer(TimingLayer(0.5))
    .layer(timed)
    .layer(timed_tasks)
    .layer(lambda inner: Timing(inner, 0.5))
    .layer(Identity())
    .layer(Stack(TimingLayer(0.5), Identity(), Timing))
    .layer(CatchLayer(KeyError, PermissionError))
    .layer(CatchLayer(into=ValueError))
)
worker = builder.build(send_email)

configured: Layer = TimingLayer(0.5)
also: Layer = Stack(configured)
fixed: Layer = layer_fn(timed)
loud = map_error(lambda error: RuntimeError(str(error)))
both = WorkerBuilder("mail").backend(MemoryStorage(Email | Sms)).layer(configured).layer(Audit)
around_push = MemoryStorage(Email, layers=[TimingLayer(0.5), Timing, Audit])
