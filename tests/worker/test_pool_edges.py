"""Consumers: awaitables of any kind, errors of any kind, and runs cancelled before they begin."""

import asyncio
import math
import time
from collections.abc import Awaitable, Generator
from contextvars import copy_context
from typing import Any

import anyio
import pytest

from layered import (
    MemoryStorage,
    Middleware,
    Status,
    Task,
    TaskId,
    WorkerBuilder,
    WorkerContext,
)
from layered.backend import Claimant
from layered.worker import StateChanged, TaskEnded, TaskStale
from layered.worker.fetcher import Until
from layered.worker.isolate import drive, first_step
from layered.worker.shift import Shift

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

    runs: list[Email] = []

    async def send(email: Email) -> None:
        runs.append(email)
        if len(runs) == 1:
            raise both

    pushed = await world.storage.push(Email())

    with pytest.raises(BaseExceptionGroup) as raised:
        await world.builder().build(send).run(burst=True)

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


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_consumer_cancelled_natively_as_it_is_called_up_leaves_no_task_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another consumer takes what it was woken for."""
    runners: list[asyncio.Task[Any]] = []
    real = world.storage.claim

    async def send(email: Email) -> None:
        runner = asyncio.current_task()
        assert runner is not None
        runners.append(runner)

    async def claim(*args: Any) -> Any:
        claimed = await real(*args)
        if claimed.leases:
            asyncio.get_running_loop().call_soon(runners[0].cancel)
        return claimed

    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        first = await world.storage.push(Email())
        await world.storage.wait_for([first.id])
        await anyio.wait_all_tasks_blocked()
        monkeypatch.setattr(world.storage, "claim", claim)
        second = await world.storage.push(Email())
        await world.storage.wait_for([second.id])
        worker.context.stop()

    assert len(set(runners)) == 2
    assert await world.statuses(first.id, second.id) == [Status.DONE] * 2


async def test_worker_claims_no_more_than_it_can_start(world: World) -> None:
    """What waits claimed in one worker is kept from the others, and lost with its process."""
    go_on = anyio.Event()

    async def send(email: Email) -> None:
        await go_on.wait()

    ids = [(await world.storage.push(Email())).id for _ in range(10)]
    worker = world.builder(concurrency=2).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.wait_all_tasks_blocked()
        statuses = await world.statuses(*ids)
        in_flight = worker.context.in_flight
        go_on.set()
        await world.storage.wait_for(ids)
        worker.context.stop()

    assert in_flight == 2
    assert statuses.count(Status.READY) == 8


async def test_tasks_of_a_claim_that_answers_after_the_stop_are_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is begun, and none is charged."""
    real, asked, answer = world.storage.claim, anyio.Event(), anyio.Event()
    ran: list[Email] = []

    async def slow(*args: Any) -> Any:
        asked.set()
        await answer.wait()
        return await real(*args)

    async def send(email: Email) -> None:
        ran.append(email)

    ids = [(await world.storage.push(Email())).id for _ in range(3)]
    monkeypatch.setattr(world.storage, "claim", slow)
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await asked.wait()
        worker.context.stop()
        answer.set()

    records = [await world.storage.get(one) for one in ids]
    assert ran == []
    assert [(one.status, one.attempt, one.epoch) for one in records if one] == [
        (Status.READY, 0, 1)
    ] * 3


@pytest.mark.virtual_time
async def test_consumer_that_ends_with_its_task_leaves_no_other_task_waiting(
    world: World,
) -> None:
    """Another takes its place, although nothing new is claimed."""
    cancellation = await _leaked_cancellation()

    async def send(email: Email) -> None:
        if email.to == "stray":
            raise cancellation

    stray = await world.storage.push(Email("stray"))
    good = await world.storage.push(Email())

    with anyio.move_on_after(60):
        await world.builder(concurrency=2).build(send).run(burst=True)

    assert await world.statuses(stray.id, good.id) == [Status.DEAD, Status.DONE]


async def test_cancelled_task_takes_no_later_one_of_its_consumer_with_it(world: World) -> None:
    """The scope that was cancelled is left before the next task begins."""
    runs: list[str] = []

    async def send(email: Email, ctx: WorkerContext, task_id: TaskId) -> None:
        runs.append(email.to)
        if email.to == "first":
            ctx.cancel(task_id)  # and ends before it notices, so its consumer goes on at once
        else:
            await anyio.lowlevel.checkpoint()

    ids = [(await world.storage.push(Email(to))).id for to in ("first", "later")]

    await world.builder().build(send).run(burst=True)

    assert runs == ["first", "later"]
    assert await world.statuses(*ids) == [Status.DONE, Status.DONE]


async def test_cancelling_a_task_that_has_failed_does_not_hit_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its consumer has gone on to another one by the time its end is written."""
    real, answers = world.storage.settle, list[bool]()
    contexts: list[tuple[WorkerContext, str]] = []

    async def send(email: Email, ctx: WorkerContext, task_id: TaskId) -> None:
        contexts.append((ctx, task_id))
        if email.to == "bad":
            raise LookupError
        await anyio.wait_all_tasks_blocked()

    async def settle(items: Any) -> Any:
        ctx, task_id = contexts[0]
        answers.append(ctx.cancel(task_id))
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", settle)
    bad = await world.storage.push(Email("bad"))
    good = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    assert answers[0] is False
    assert await world.statuses(bad.id, good.id) == [Status.DEAD, Status.DONE]


async def test_handlers_that_take_long_without_suspending_let_others_run(world: World) -> None:
    """A consumer gives way after 5 ms as well, or 50 of them would hold up all timers."""
    order: list[str] = []

    async def send(email: Email) -> None:
        order.append("task")
        began = time.perf_counter()
        while time.perf_counter() - began < 0.006:
            pass

    async def other() -> None:
        while order.count("task") < 12:
            order.append("other")
            await anyio.lowlevel.checkpoint()

    await world.storage.push_many([Email()] * 12)
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await world.builder().build(send).run(burst=True)

    longest = max(len(run) for run in "".join(one[0] for one in order).split("o"))
    assert longest <= 4  # two turns of two: the end of one turn of the loop, and the start of next


async def test_consumer_that_is_closed_amid_a_task_writes_nothing(world: World) -> None:
    """As when a program drops its loop: the lease ends by itself, and the task runs again."""
    closed: list[str] = []

    class Never:
        def __await__(self) -> Generator[str, None, None]:
            yield "waiting"

    async def send(email: Email) -> None:
        try:
            await Never()
        finally:
            closed.append(email.to)

    await world.storage.push(Email())
    leases = (await world.storage.claim(Claimant("default", "us"), {"Email": 1}, 1)).leases
    pool = Shift(world.builder().build(send)._plan, Until.STOPPED)._pool
    pool.add(leases, lease_ends=math.inf)
    consumer = pool._work(anyio.CancelScope())
    assert consumer.send(None) == "waiting"

    consumer.close()

    assert closed == ["ada@example.org"]
    assert pool.active == 1
    assert pool._settler._entries == []


async def test_task_of_another_codec_is_dead_and_says_which_it_needs(world: World) -> None:
    """Its bytes might decode to something else."""

    async def send(email: Email) -> None: ...

    pushed = await world.storage.push(Email())
    row = world.storage._book.rows[pushed.id]
    row.draft = row.draft._replace(codec="pickle")

    await world.builder().build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert record.status is Status.DEAD
    assert "needs codec 'pickle', got JsonCodec()" in record.errors[-1].message


@pytest.mark.virtual_time
async def test_event_of_an_end_tells_how_long_the_handler_took(world: World) -> None:
    """Also of one that failed; one that never began took no time. No other event tells of them."""

    async def send(email: Email, ctx: WorkerContext) -> None:
        if email.to == "never":
            return
        ctx.cancel(never.id)
        await anyio.sleep(float(email.to))
        if email.to == "3":
            raise LookupError

    ids = [(await world.storage.push(Email(to))).id for to in ("2", "3")]
    never = await world.storage.push(Email("never"))

    await world.builder().build(send).run(burst=True)

    assert {one.task_id: one.seconds for one in world.ended} == {
        ids[0]: pytest.approx(2),
        ids[1]: pytest.approx(3),
        never.id: pytest.approx(0),
    }
    assert {type(one) for one in world.events} == {StateChanged, TaskEnded}


async def test_arguments_are_made_anew_for_each_task() -> None:
    """A handler may change what it was given; equal bytes are no reason to share it."""
    storage, seen = MemoryStorage(list[int]), list[list[int]]()

    async def append(numbers: list[int]) -> None:
        numbers.append(0)
        seen.append(numbers)

    await storage.push_many([[1]] * 3)

    await WorkerBuilder("w").backend(storage).build(append).run(burst=True)

    assert seen == [[1, 0]] * 3
