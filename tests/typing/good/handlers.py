"""Every kind of handler, and what `build` makes of it."""

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any, assert_type

import attrs

from layered import (
    Abort,
    Attempt,
    Data,
    Depends,
    MemoryStorage,
    Metadata,
    RetryAfter,
    Router,
    Service,
    Snooze,
    Task,
    TaskId,
    TracingContext,
    Worker,
    WorkerBuilder,
    WorkerContext,
    check,
)

log = logging.getLogger("mail")


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Sms:
    number: str


@attrs.frozen
class State:
    sender: str


@attrs.frozen
class Tenant:
    """A type that handlers can ask for."""

    name: str

    @classmethod
    def from_task(cls, task: Task[Any], /) -> "Tenant":
        return cls(task.metadata["tenant"])


async def session(state: Data[State]) -> AsyncIterator[str]:
    yield state.sender


async def plain(email: Email) -> str:
    return email.to


async def everything(  # noqa: PLR0913, PLR0917 - that is the point
    email: Email,
    state: Data[State],
    ctx: WorkerContext,
    task_id: TaskId,
    tracing: TracingContext,
    metadata: Metadata,
    task: Task[Email],
    connection: Annotated[str, Depends(session)],
    tenant: Tenant,
) -> int:
    assert_type(state, State)
    assert_type(task_id, str)
    assert_type(metadata["key"], str)
    assert_type(task.args, Email)
    ctx.pause()
    log.info("%s", [email.to, tracing.trace_id, connection, tenant.name])
    return 1


async def keyword_only(email: Email, *, state: Data[State], attempt: Attempt = 1) -> None:
    assert_type(attempt, int)
    log.info("%s", [email.to, state.sender])


async def outcomes(email: Email) -> str | Abort | RetryAfter | Snooze:
    return Abort("no such user") if not email.to else "sent"


async def anything(args: object) -> None:
    log.info("%s", args)


async def wider(args: Email | Sms) -> None:
    log.info("%s", args)


def blocking(email: Email, ctx: WorkerContext) -> bytes:
    return b"" if ctx.cancelled else email.to.encode()


class Sender:
    """A service: keeps its own state, and says how much it can take."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def call(self, request: Task[Email], /) -> float:
        log.info("%s", [self.state.sender, request.args.to, request.attempt])
        return 0.5

    async def ready(self) -> None:
        return

    def capacity(self) -> int:
        return 10


class Inherited(Service[Task[Email], float]):
    """A service with the defaults."""

    async def call(self, request: Task[Email], /) -> float:
        return float(len(request.args.to))


class OnlyCall:
    """Adapted to a service."""

    async def call(self, request: Task[Email], /) -> float:
        return float(len(request.args.to))


class Mailer:
    """Handlers may be bound methods and callable objects."""

    async def send(self, email: Email, attempt: Attempt) -> str:
        return f"{email.to} {attempt}"

    async def __call__(self, email: Email) -> str:
        return email.to


storage = MemoryStorage(Email)
builder = WorkerBuilder("mail").backend(storage).data(State("newton@example.org"))

assert_type(builder.build(plain), Worker[Email, str])
assert_type(builder.build(everything), Worker[Email, int])
assert_type(builder.build(keyword_only), Worker[Email, None])
assert_type(builder.build(outcomes), Worker[Email, str | Abort | RetryAfter | Snooze])
assert_type(builder.build(anything), Worker[Email, None])
assert_type(builder.build(wider), Worker[Email, None])
assert_type(builder.build(blocking), Worker[Email, bytes])
assert_type(builder.build(Sender(State("newton@example.org"))), Worker[Email, float])
assert_type(builder.build(Inherited()), Worker[Email, float])
assert_type(builder.build(OnlyCall()), Worker[Email, float])
assert_type(builder.build(Mailer().send), Worker[Email, str])
assert_type(builder.build(Mailer()), Worker[Email, str])
check(everything, storage, State("newton@example.org"))

both = WorkerBuilder("both").backend(MemoryStorage(Email | Sms))


async def send_sms(sms: Sms) -> int:
    return len(sms.number)


router = Router().route(Email, plain).route(Sms, send_sms)
assert_type(router, Router[Email | Sms])
assert_type(both.build(router), Worker[Email | Sms, object])
assert_type(
    both.build(Router().route(Email, Sender(State("x"))).route(Sms, send_sms)),
    Worker[Email | Sms, object],
)
assert_type(both.build(wider), Worker[Email | Sms, None])
