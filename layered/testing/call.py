"""`call`: a handler with everything it asks for, without a store or a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from typing_extensions import TypedDict, Unpack

from layered.backends.memory import MemoryStorage
from layered.errors import PushRefused
from layered.handler import Router
from layered.service import HasCall, Service
from layered.task import Kind, Kinds, Run, Task
from layered.testing.task import make_task
from layered.worker import WorkerBuilder
from layered.worker.builder import Builder

A = TypeVar("A")
R = TypeVar("R")
P = ParamSpec("P")


class CallOptions(TypedDict, total=False):
    """What `call` takes besides; see there."""

    data: Iterable[object]
    task: Task[Any]
    attempt: int
    form: object


@overload
async def call(handler: Router[A], args: A, /, **options: Unpack[CallOptions]) -> object: ...
@overload
async def call(handler: Service[Task[A], R], args: A, /, **options: Unpack[CallOptions]) -> R: ...
@overload
async def call(handler: HasCall[Task[A], R], args: A, /, **options: Unpack[CallOptions]) -> R: ...
@overload
async def call(
    handler: Callable[Concatenate[A, P], Awaitable[R]], args: A, /, **options: Unpack[CallOptions]
) -> R: ...
@overload
async def call(
    handler: Callable[Concatenate[A, P], R], args: A, /, **options: Unpack[CallOptions]
) -> R: ...
async def call(
    handler: Any,
    args: Any,
    /,
    *,
    data: Iterable[object] = (),
    task: Task[Any] | None = None,
    attempt: int | None = None,
    form: Any = None,
) -> Any:
    """
    Call a handler as the innermost service of a worker's stack does, once.

    Its parameters are filled by the same compiled call, dependencies are
    set up and torn down, a plain function runs in a thread, and what it
    answers or raises is what the layers around it would see.

    ::

        assert await call(send_email, Email("ada@example.org"), data=[state], attempt=2) == "sent"

    Args:
        handler: As for `WorkerBuilder.build`.
        args: The task's arguments.
        data: Values to provide, each as with `WorkerBuilder.data`.
        attempt: The number of the run, 1 on the first.
        task: What is known of the task besides, such as
            ``make_task(args, metadata={...})``.
        form: The type that a storage would be made with; default
            ``type(args)``, for a `Router` all types that it has branches for.
            Needed for such as ``list[int]``.

    Raises:
        BuildError: if a worker would refuse the handler; lists all that is wrong.
        WrongState: if it asks for a `WorkerContext`: there is no worker;
            use `TestWorker`.
        TypeError: if both *task* and *attempt* are given.
        Exception: what the handler raised, outcomes included.

    Cancellation:
        Reaches the handler, as any cancellation does.
    """
    if task is not None and attempt is not None:
        msg = f"call() got 'attempt' and 'task': say task=make_task(args, attempt={attempt!r})"
        raise TypeError(msg)
    storage: MemoryStorage[Any] = MemoryStorage(_form(handler, args) if form is None else form)
    builder: Builder[Any] = WorkerBuilder("call").backend(storage)
    for value in data:
        builder = builder.data(value)
    record = (task or make_task(args, attempt=1 if attempt is None else attempt)).run.record
    named = record._replace(name=storage.kinds.of(args).name)  # a Router finds its branch by it
    return await builder.build(handler).call(Task(args, Run(named)))


def _form(handler: object, args: object) -> Any:  # noqa: ANN401 - a type form has no run-time type
    """Answer what a storage that holds *args*, and all that a router handles, is made with."""
    routes: Any = handler.routes if isinstance(handler, Router) else ()
    kinds: list[Kind[Any]] = [Kind(form) for form, _ in routes]
    try:
        Kinds(tuple(kinds)).of(args)
    except PushRefused:
        kinds.append(Kind(type(args)))
    return tuple(kinds)
