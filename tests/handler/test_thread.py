"""Plain functions as handlers."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Annotated

import anyio
import pytest
from anyio import from_thread

from layered.extractors import Attempt, Data, Depends
from layered.handler.thread import Job, Threads
from layered.task import CancelReason
from tests.handler.parts import STATE, Email, State, called, compiled, make_task

WHO: ContextVar[str] = ContextVar("WHO")


class Gate:
    """A plain handler that waits in its thread until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.ended = False
        self.calls = 0

    def handle(self, email: Email) -> str:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(10)
        self.ended = True
        return "late"


async def entered(gate: Gate) -> None:
    """Wait until the gate's thread runs."""
    await anyio.to_thread.run_sync(gate.begun.wait)


async def test_plain_function_runs_in_a_thread_and_is_filled_in_the_loop() -> None:
    """Extractors and sync dependencies run where the event loop is."""

    def where() -> int:
        return threading.get_ident()

    def handle(
        email: Email, state: Data[State], *, loop: Annotated[int, Depends(where)], n: Attempt
    ) -> object:
        return state, loop, threading.get_ident(), n

    state, loop, own, attempt = await called(handle, STATE)

    assert (state, attempt) == (STATE, 1)
    assert loop == threading.get_ident() != own


async def test_context_variables_are_seen_in_the_thread() -> None:
    """And what the thread sets there stays there."""

    def handle(email: Email) -> str:
        seen = WHO.get()
        WHO.set("the thread")
        return seen

    WHO.set("the loop")

    assert await called(handle) == "the loop"
    assert WHO.get() == "the loop"


async def test_thread_can_reach_the_loop() -> None:
    """`anyio.from_thread` works as in any worker thread."""

    def handle(email: Email) -> int:
        return from_thread.run_sync(threading.get_ident)

    assert await called(handle) == threading.get_ident()


def test_plain_function_runs_on_one_loop_after_the_other() -> None:
    """A worker that is built once may run again, on another event loop."""

    def handle(email: Email) -> str:
        return email.to

    handler = compiled(handle, threads=1)

    async def call() -> None:
        await handler.service.call(make_task())

    async def two_at_once() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            tasks.start_soon(call)

    for loop in ("asyncio", "trio", "asyncio"):
        anyio.run(two_at_once, backend=loop)


async def test_threads_are_as_many_as_set() -> None:
    """With one thread, a second call waits for the first."""
    gate = Gate()
    handler = compiled(gate.handle, threads=1)
    order: list[str] = []

    async def call(name: str) -> None:
        await handler.service.call(make_task())
        order.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, "first")
        await entered(gate)
        tasks.start_soon(call, "second")
        await anyio.wait_all_tasks_blocked()
        calls = gate.calls
        gate.go.set()

    assert calls == 1
    assert gate.calls == 2
    assert Threads(1).limiter().total_tokens == 1  # a second thread may be slow to start
    assert order == ["first", "second"]


async def test_thread_is_waited_for_when_cancelled_and_its_result_is_dropped() -> None:
    """A limit inside the worker: the caller stays until the thread returns, then is cancelled."""
    gate = Gate()
    handler = compiled(gate.handle)
    left = anyio.Event()

    async def call(scope: anyio.CancelScope) -> None:
        with scope:
            await handler.service.call(make_task())
        left.set()

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, scope)
        await entered(gate)
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        stayed = not left.is_set()
        gate.go.set()

    assert stayed
    assert gate.ended
    assert scope.cancelled_caught


async def test_result_is_kept_when_the_worker_cancelled() -> None:
    """A handler that finished although the worker cancelled it has finished."""
    gate, task = Gate(), make_task()
    handler = compiled(gate.handle)
    results: list[str] = []
    task.run.scope = anyio.CancelScope()

    async def call() -> None:
        assert task.run.scope is not None
        with task.run.scope:
            results.append(await handler.service.call(task))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await entered(gate)
        task.run.cancel(CancelReason.USER)
        gate.go.set()

    assert results == ["late"]


async def test_function_never_runs_when_cancelled_before_it_got_a_thread() -> None:
    """Waiting for a thread can be given up at once."""
    gate = Gate()
    handler = compiled(gate.handle, threads=1)
    scope = anyio.CancelScope()

    async def first() -> None:
        await handler.service.call(make_task())

    async def call() -> None:
        with scope:
            await handler.service.call(make_task())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await entered(gate)
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        given_up = scope.cancelled_caught
        gate.go.set()

    assert given_up
    assert gate.calls == 1


def test_thread_is_waited_for_when_asyncio_cancels_the_task() -> None:
    """`asyncio.timeout` and the like know no scope: the thread is waited for all the same."""
    gate = Gate()

    async def main() -> None:
        call = asyncio.ensure_future(compiled(gate.handle).service.call(make_task()))
        await entered(gate)
        call.cancel()
        await anyio.wait_all_tasks_blocked()
        call.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not call.done()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert gate.ended

    asyncio.run(main())


async def test_error_of_the_function_is_raised() -> None:
    """As the same object."""
    error = ValueError("mine")

    def handle(email: Email) -> None:
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        await called(handle)

    assert caught.value is error


async def test_job_that_was_given_up_does_not_begin() -> None:
    """The thread may come to it after its caller has left."""
    calls: list[str] = []
    job = Job(calls.append, ("called",))

    await job.ended()

    with pytest.raises(RuntimeError):
        job.run()
    assert calls == []


def test_threads_show_their_number() -> None:
    """In what a compiled call is made of."""
    assert repr(Threads(7)) == "Threads(7)"
