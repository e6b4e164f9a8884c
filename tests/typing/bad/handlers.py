"""Handlers that do not fit their storage."""

from typing import Annotated

import attrs

from layered import Data, Depends, MemoryStorage, Router, Service, Task, WorkerBuilder


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Sms:
    number: str


@attrs.frozen
class State:
    sender: str


async def wrong_type(sms: Sms) -> None:
    print(sms.number)


def wrong_type_in_a_thread(sms: Sms) -> None:
    print(sms.number)


async def by_keyword_only(*, email: Email) -> None:
    print(email.to)


async def without_parameters() -> None:
    return


async def wrong_attributes(email: Email, state: Data[State]) -> None:
    print(email.subject)  # E: Email has no such attribute
    print(state.client)  # E: nor has the injected State


def make() -> State:
    return State("newton@example.org")


async def dependency(email: Email, state: Annotated[State, Depends(make)]) -> None:
    print(email.to, state.client)  # E: Depends is what it says it is


class Sender(Service[Task[Sms], None]):
    async def call(self, request: Task[Sms], /) -> None:
        print(request.args.number)


class TakesArguments:
    async def call(self, request: Email, /) -> None:
        print(request.to)


builder = WorkerBuilder("mail").backend(MemoryStorage(Email))
builder.build(wrong_type)  # E: takes Sms
builder.build(wrong_type_in_a_thread)  # E: takes Sms
builder.build(by_keyword_only)  # E: the arguments come by position
builder.build(without_parameters)  # E: nowhere to put the arguments
builder.build(Sender())  # E: takes tasks of Sms
builder.build(TakesArguments())  # E: services get the whole task
builder.build("send_email")  # E: no handler at all
WorkerBuilder("mail").build(wrong_type)  # E: no backend yet


async def send_email(email: Email) -> None:
    print(email.to)


both = WorkerBuilder("both").backend(MemoryStorage(Email | Sms))
both.build(send_email)  # E: the storage also holds Sms
Router().route(Sms, send_email)  # E: a branch for Sms that takes Email
both.build(Router().route(Email, send_email))  # E: no branch for Sms
