"""Things that are no layers, or not there."""

from typing import Any, TypeVar

import attrs

from layered import (
    MemoryStorage,
    Middleware,
    Service,
    ServiceBuilder,
    Task,
    TimeoutLayer,
    TracingLayer,
    WorkerBuilder,
    service_fn,
)

Req = TypeVar("Req")
Res = TypeVar("Res")


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Sms:
    number: str


class Texts(Middleware[Task[Email], str]):
    """Fits stacks that answer texts only."""


class OfSms(Middleware[Task[Sms], Res]):
    """Fits tasks of Sms only."""


class Requests(Middleware[bytes, Res]):
    """Fits no tasks."""


class Renames(Middleware[Req, Res]):
    """Changes the response without being a Transform."""

    async def call(self, request: Req, /) -> int:  # E: answers int, not Res
        await self.inner.call(request)
        return 1


def to_text(inner: Service[Task[Email], Any], /) -> Service[Task[Email], str]:
    raise NotImplementedError


def of_sms(inner: Service[Task[Sms], Res], /) -> Service[Task[Sms], Res]:
    return inner


builder = WorkerBuilder("mail").backend(MemoryStorage(Email))
builder.layer(object())  # E: no layer
builder.layer(TimeoutLayer)  # E: the class instead of an object
builder.layer(Texts)  # E: only for handlers that answer str
builder.layer(OfSms)  # E: tasks of another type
builder.layer(Requests)  # E: no tasks
builder.layer(to_text)  # E: changes the response
builder.layer(of_sms)  # E: tasks of another type
builder.layer(lambda inner: 1)  # E: answers no service
builder.retry("3")  # E: a number of runs
builder.timeout("30")  # E: seconds
builder.configure(leese=2.0)  # E: misspelt


async def shout(text: str) -> str:
    return text.upper()


ServiceBuilder.of(str, str).layer(TracingLayer()).service(service_fn(shout))  # E: needs tasks
ServiceBuilder.of(str, str).layer(object()).service(service_fn(shout))  # E: no layer
ServiceBuilder.of(str, int).service(service_fn(shout))  # E: answers str
ServiceBuilder.of(str, str).map_request(len).service(service_fn(shout))  # E: takes str, gets int
ServiceBuilder.of(str, str).map_response(len).service(service_fn(shout))  # E: makes int of str
