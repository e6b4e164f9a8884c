"""Consumers: awaitables of any kind, errors of any kind, and runs cancelled before they begin."""

import asyncio
from collections.abc import Awaitable, Generator
from contextvars import copy_context
from typing import Any

import anyio
import pytest

from layered import Middleware, Status, Task, TaskId, WorkerContext
from layered.worker import TaskStale
from layered.worker.isolate import drive, first_step

from .conftest import Email, World
from .test_cancellation import _leaked_cancellation


class Later:
    """An awaitable that is no coroutine."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await what it is made of."""
        return self._awaitable.__await__()


async def test_call_of_a_layer_may_answer_any_awaitable(world: World) -> None:
    """A layer need not be an async function; what its inside suspends for goes on."""

    class Indirect(Middleware[Task[Email], Any]):
        def call(self, task: Task[Email], /) -> Awaitable[Any]:
            return Later(self.inner.call(task))

    async def send(email: Email) -> str:
        await anyio.lowlevel.checkpoint()
        return "sent"

    pushed = await world.storage.push(Email())

    await world.builder().layer(Indirect).build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert record.result_as(str) == "sent"


async def test_task_that_is_cancelled_before_it_begins_never_runs(world: World) -> None:
    """Claimed together with the one that cancels it, and still waiting for its consumer."""
    ran: list[str] = []

    async def send(email: Email, ctx: WorkerContext, task_id: TaskId) -> None:
        ran.append(task_id)
        assert ctx.cancel(second.id)

    first = await world.storage.push(Email())
    second = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    assert ran == [first.id]
    assert await world.statuses(first.id, second.id) == [Status.DONE, Status.CANCELLED]
    assert not [one for one in world.events if isinstance(one, TaskStale)]


async def test_error_whose_text_cannot_be_had_is_stored_all_the_same(world: World) -> None:
    """A user's `__str__` may raise anything; the worker goes on."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    async def send(email: Email) -> None:
        raise Mute

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert record.status is Status.DEAD
    assert record.errors[-1].type.endswith("Mute")
    assert record.errors[-1].message == "(its text cannot be had: ZeroDivisionError)"


async def test_exit_in_a_group_of_errors_ends_the_worker(world: World) -> None:
    """As a task group of a handler raises it; it means the same as alone."""
    both = BaseExceptionGroup("both", [LookupError(), BaseExceptionGroup("in", [SystemExit(6)])])

    async def send(email: Email) -> None:
        raise both

    pushed = await world.storage.push(Email())

    with pytest.raises(BaseExceptionGroup) as raised:
        await world.builder().build(send).run()

    assert raised.value is both
    assert await world.statuses(pushed.id) == [Status.READY]


async def test_error_of_a_child_amid_a_cancellation_is_no_reason_to_end(world: World) -> None:
    """On trio a task group raises both in one group; the cancellation's reason decides."""
    started = anyio.Event()

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError

    async def send(email: Email) -> None:
        if email.to == "long":
            async with anyio.create_task_group() as group:
                group.start_soon(child)
                group.start_soon(anyio.sleep_forever)
                started.set()

    long = await world.storage.push(Email("long"))
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        worker.context.cancel(long.id)
        await world.storage.wait_for([long.id])
        later = await world.storage.push(Email())
        await world.storage.wait_for([later.id])
        worker.context.stop()

    assert await world.statuses(long.id, later.id) == [Status.CANCELLED, Status.DONE]


async def test_stray_cancellation_with_an_error_keeps_the_error_as_its_cause(world: World) -> None:
    """What failed inside is what a user has to look for."""

    async def send(email: Email) -> None:
        cancellation = await _leaked_cancellation()
        raise BaseExceptionGroup("both", [cancellation, LookupError("no such host")])

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert record.errors[-1].type == "layered.errors.StrayCancellation"
    assert "no such host" in record.errors[-1].traceback


async def test_driver_that_is_closed_closes_what_it_drives() -> None:
    """As when a loop ends with tasks unfinished: no coroutine is left half done and unclosed."""
    closed: list[str] = []

    class Never:
        def __await__(self) -> Generator[str, None, None]:
            yield "waiting"

    async def handler(name: str) -> None:
        try:
            await Never()
        finally:
            closed.append(name)

    context = copy_context()
    coroutine, yielded = context.run(first_step, handler, "handler")
    assert coroutine is not None
    driver: Any = drive(context, coroutine, yielded)
    assert driver.send(None) == "waiting"

    driver.close()

    assert closed == ["handler"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_consumer_cancelled_natively_while_it_waits_harms_nobody(world: World) -> None:
    """A handler may leave behind a timer that cancels the task of the loop that it ran in."""
    runners: list[asyncio.Task[Any]] = []

    async def send(email: Email) -> None:
        runner = asyncio.current_task()
        assert runner is not None
        runners.append(runner)

    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        first = await world.storage.push(Email())
        await world.storage.wait_for([first.id])
        await anyio.wait_all_tasks_blocked()
        runners[0].cancel()
        await anyio.wait_all_tasks_blocked()
        second = await world.storage.push(Email())
        with anyio.move_on_after(2):
            await world.storage.wait_for([second.id])
        state = worker.state.value
        if state == "running":
            worker.context.stop()

    assert state == "running"
    assert await world.statuses(first.id, second.id) == [Status.DONE] * 2
