"""The testing kit keeps the types of what it is given."""

from typing import assert_type

import attrs

from layered import Attempt, MemoryStorage, Service, Task, Worker, WorkerBuilder
from layered.testing import MockService, TestWorker, assert_pushed, call, pushed


@attrs.frozen
class Email:
    to: str


async def send(email: Email, attempt: Attempt) -> int:
    return attempt


def print_out(email: Email) -> bytes:
    return email.to.encode()


class Sender(Service[Task[Email], str]):
    async def call(self, request: Task[Email], /) -> str:
        return request.args.to


async def main() -> None:
    storage = MemoryStorage(Email)
    worker = WorkerBuilder("mail").backend(storage).build(send)
    assert_type(TestWorker(worker), TestWorker[Email, int])
    assert_type(await call(send, Email("ada"), attempt=2), int)
    assert_type(await call(print_out, Email("ada")), bytes)
    assert_type(await call(Sender(), Email("ada"), data=[1]), str)
    assert_type(await assert_pushed(storage, Email, to="ada"), list[Email])
    assert_type(await pushed(storage, Email), list[Email])
    service, handle = MockService[str, int].pair()
    assert_type(await service.call("a"), int)
    assert_type((await handle.next_request()).request, str)


def watched(worker: Worker[Email, int]) -> Worker[Email, int]:
    return worker.on_event(print)
