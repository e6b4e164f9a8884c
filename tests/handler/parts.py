"""Task types, claimed tasks, and handlers compiled for them, for the tests of this room."""

from collections.abc import Mapping
from typing import Any

import attrs

from layered.handler import Handler, Setting, compile_handler
from layered.task import Fence, Kinds, Lease, Run, Task


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Sms:
    number: str


@attrs.frozen
class State:
    name: str


STATE = State("the state")


def make_task(
    args: object = None, *, attempt: int = 1, metadata: Mapping[str, str] | None = None
) -> Task[Any]:
    """Make a task as a worker has it after claiming."""
    args = args or Email("ada@example.org")
    fence = Fence("0190-id", 1, b"claim")
    lease = Lease(
        fence=fence,
        queue="default",
        name=type(args).__name__,
        payload=b"",
        codec="json",
        version=1,
        metadata=metadata or {},
        priority=5,
        attempt=attempt,
        max_attempts=None,
        lost=0,
        due_at=0,
        created_at=0,
    )
    return Task(args, Run(lease))


def compiled(
    handler: object,
    *data: object,
    args: Any = Email,
    teardown_timeout: float = 5.0,
    threads: int = 1,
) -> Handler:
    """Compile *handler*, which has no problems."""
    problems: list[str] = []
    setting = Setting({type(each): each for each in data}, threads, teardown_timeout)
    answer = compile_handler(handler, Kinds(args), setting, problems)
    assert not problems, problems
    assert answer is not None
    return answer


def problems_of(handler: object, *data: object, args: Any = Email) -> list[str]:
    """Return what is wrong with *handler*."""
    problems: list[str] = []
    setting = Setting({type(each): each for each in data}, 1)
    answer = compile_handler(handler, Kinds(args), setting, problems)
    assert (answer is None) == bool(problems)
    return problems


async def called(
    handler: object, *data: object, args: Any = Email, task: Task[Any] | None = None
) -> Any:
    """Compile *handler* and call it once."""
    compiled_handler = compiled(handler, *data, args=args)
    async with compiled_handler.opened():
        return await compiled_handler.service.call(task or make_task())
