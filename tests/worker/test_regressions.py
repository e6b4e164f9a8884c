"""Faults that a review found: each test failed before its fix."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import anyio
import pytest

from layered import (
    CancelReason,
    Depends,
    MemoryStorage,
    Router,
    Status,
    Task,
    Transient,
    WorkerBuilder,
    WorkerContext,
    WrongState,
)
from layered.backend import Answer, Settle
from layered.worker import (
    BackendTroubled,
    ResultDropped,
    State,
    StateChanged,
    TaskEnded,
    TaskStale,
)

from .conftest import Email, World
from .test_cancellation import _leaked_cancellation
from .test_parts import failing, send


@pytest.mark.virtual_time
async def test_run_ends_when_cancelled_while_the_store_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is claimed yet, so there is nothing to wait for; the worker may run again."""
    monkeypatch.setattr(world.storage, "check", anyio.sleep_forever)
    worker = world.builder().build(send)

    with anyio.move_on_after(5):
        await worker.run()

    assert anyio.current_time() == pytest.approx(5)
    assert worker.state is State.STOPPED


async def test_spawned_child_with_a_stray_cancellation_stops_nothing(world: World) -> None:
    """The worker goes on, and its drain ends."""

    async def child() -> None:
        raise await _leaked_cancellation()

    async def handler(email: Email, ctx: WorkerContext) -> None:
        ctx.spawn(child)

    first = await world.storage.push(Email())
    worker = world.builder().build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await world.storage.wait_for([first.id])
        await anyio.wait_all_tasks_blocked()
        second = await world.storage.push(Email())
        await world.storage.wait_for([second.id])
        worker.context.stop()

    assert await world.statuses(first.id, second.id) == [Status.DONE] * 2


async def test_exit_raised_by_a_spawned_child_gives_tasks_back_and_propagates(
    world: World,
) -> None:
    """As from a handler: as it is, in no group, after a drain without grace."""
    stop, started = SystemExit(3), anyio.Event()

    async def child() -> None:
        await started.wait()
        raise stop

    async def handler(email: Email, ctx: WorkerContext) -> None:
        ctx.spawn(child)
        started.set()
        await anyio.sleep_forever()

    pushed = await world.storage.push(Email())

    with pytest.raises(SystemExit) as raised:
        await world.builder().build(handler).run()

    assert raised.value is stop
    assert await world.statuses(pushed.id) == [Status.READY]


async def test_spawn_is_refused_before_the_worker_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be forgotten in silence."""
    answer = anyio.Event()
    monkeypatch.setattr(world.storage, "check", answer.wait)
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.wait_all_tasks_blocked()

        with pytest.raises(WrongState, match="does not run: it can start no"):
            worker.context.spawn(anyio.sleep_forever)

        worker.context.stop()


async def test_listener_with_a_stray_cancellation_harms_nobody(world: World) -> None:
    """The other listeners are told all the same, and the worker goes on."""

    async def bad(event: object) -> None:
        raise await _leaked_cancellation()

    pushed = await world.storage.push(Email())

    await world.builder().on_event(bad).build(send).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert len(world.ended) == 1


async def test_exit_raised_by_a_listener_gives_tasks_back_and_propagates(world: World) -> None:
    """A program that ends itself loses no task."""
    stop = SystemExit(4)

    async def listener(event: object) -> None:
        if isinstance(event, TaskEnded):
            raise stop

    async def handler(email: Email) -> None:
        if email.to == "long":
            await anyio.sleep_forever()

    short = await world.storage.push(Email())
    long = await world.storage.push(Email("long"))

    with pytest.raises(SystemExit) as raised:
        await world.builder().on_event(listener).build(handler).run()

    assert raised.value is stop
    assert await world.statuses(short.id, long.id) == [Status.DONE, Status.READY]


async def test_listener_object_with_an_async_call_is_awaited(world: World) -> None:
    """In a thread its coroutine would be thrown away."""
    told: list[object] = []

    class Listener:
        async def __call__(self, event: object) -> None:
            told.append(event)

    await world.storage.push(Email())

    await world.builder().on_event(Listener()).build(send).run(burst=True)

    assert [one for one in told if isinstance(one, TaskEnded)]


async def test_plain_handler_may_steer_the_worker_from_its_thread(world: World) -> None:
    """An event set from another thread would wake nobody."""

    def handler(email: Email, ctx: WorkerContext) -> None:
        ctx.emit("hello")
        ctx.pause()
        ctx.resume()
        ctx.stop()

    pushed = await world.storage.push(Email())

    with anyio.fail_after(20):
        await world.builder().build(handler).run()

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert "hello" in world.events


@pytest.mark.virtual_time
async def test_end_that_cannot_be_written_holds_up_no_other_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is renewed as long as it is tried, so the lease's end is no limit."""
    bad = (await world.storage.push(Email())).id
    good = [(await world.storage.push(Email())).id for _ in range(4)]
    real = world.storage.settle

    async def choking(items: Sequence[Settle]) -> Sequence[Answer]:
        if any(item.fence.id == bad for item in items):
            raise ValueError(bad)
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", choking)
    worker = world.builder(lease=3.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(10)
        later = await world.storage.push(Email())
        await anyio.sleep(10)
        statuses = await world.statuses(*good, later.id)
        group.cancel_scope.cancel()

    assert statuses == [Status.DONE] * 5


@pytest.mark.virtual_time
async def test_drain_cancels_a_handler_that_goes_on_after_settle_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its task is done and stays so, but a drain waits for nobody for ever."""
    storage, started = MemoryStorage(Email), anyio.Event()
    reasons: list[CancelReason | None] = []

    async def settle_in(tx: object, item: Settle) -> Answer:
        return (await storage.settle([item]))[0]

    async def handler(email: Email, ctx: WorkerContext) -> None:
        await ctx.settle_in(None)
        started.set()
        try:
            await anyio.sleep(10_000)
        finally:
            reasons.append(ctx.cancel_reason)

    monkeypatch.setattr(storage, "settle_in", settle_in, raising=False)
    pushed = await storage.push(Email())
    worker = WorkerBuilder("w").backend(storage).configure(grace=5.0).build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        worker.context.stop()

    assert anyio.current_time() == pytest.approx(5, abs=0.1)
    assert reasons == [CancelReason.DRAIN]
    assert (await storage.wait_for([pushed.id]))[0].status is Status.DONE


@pytest.mark.virtual_time
async def test_run_that_was_given_up_is_told_of_once(world: World) -> None:
    """Its handler may end later; by then the task is another's."""
    stubborn = anyio.Event()

    async def handler(email: Email) -> None:
        with anyio.CancelScope(shield=True):
            await stubborn.wait()
        await anyio.lowlevel.checkpoint()

    await world.storage.push(Email())
    worker = world.builder(grace=5.0, cancel_grace=2.0).build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(1)
        worker.context.stop()
        await anyio.sleep(8)
        stubborn.set()

    assert [one.status for one in world.ended] == [Status.READY]
    assert not [one for one in world.events if isinstance(one, TaskStale)]


class OneAtOnce:
    """A handler service with room for one, that holds nobody off itself."""

    def __init__(self) -> None:
        self.running = self.peak = 0
        self.ended = anyio.Event()

    async def call(self, task: Task[int]) -> None:
        """Take 10 ms."""
        self.running += 1
        self.peak = max(self.peak, self.running)
        await anyio.sleep(0.01)
        self.running -= 1
        self.ended.set()
        self.ended = anyio.Event()

    async def ready(self) -> None:
        """Wait for room."""
        while self.running:
            await self.ended.wait()

    def capacity(self) -> int:
        """Tell the room."""
        return 1 - self.running


@pytest.mark.virtual_time
async def test_full_branch_is_neither_flooded_nor_left_until_the_next_poll() -> None:
    """What was claimed and has not begun takes room too; room that comes back is a hint."""
    storage = MemoryStorage(Email | int)
    service = OneAtOnce()
    router = Router().route(Email, send).route(int, service)
    ids = [(await storage.push(number)).id for number in range(10)]

    began = anyio.current_time()
    await WorkerBuilder("w").backend(storage).build(router).run(burst=True)

    assert service.peak == 1
    assert anyio.current_time() - began < 0.5
    assert {one.status for one in await storage.wait_for(ids)} == {Status.DONE}


@pytest.mark.virtual_time
async def test_claim_that_failed_is_tried_again_without_waiting_for_the_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint that led to it still stands."""
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(10.3)
        failing(world, monkeypatch, "claim", Transient("locked"), Transient("still"))
        began = anyio.current_time()
        pushed = await world.storage.push(Email())
        await world.storage.wait_for([pushed.id])
        waited = anyio.current_time() - began
        worker.context.stop()

    assert waited < 0.2


async def test_fetch_of_expired_tasks_lets_others_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every turn of the fetcher has a checkpoint, also one that brings nothing."""
    turns = 0

    async def nothing(limit: int) -> int:
        return 0

    async def other() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    monkeypatch.setattr(world.storage, "prune", nothing)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await world.storage.push_many([Email()] * 1000, expires_at=past)
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await world.builder(batch=10).build(send).run(burst=True)
        group.cancel_scope.cancel()

    assert turns >= 50


@pytest.mark.parametrize("turns", [0, 1], ids=["at once", "later"])
async def test_generator_exit_of_a_handler_fails_its_task_and_spares_the_worker(
    world: World, turns: int
) -> None:
    """A consumer must not take it for its own end."""

    async def handler(email: Email) -> None:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        if email.to == "bad":
            raise GeneratorExit

    bad = await world.storage.push(Email("bad"))
    good = await world.storage.push(Email())

    await world.builder(concurrency=1).build(handler).run(burst=True)

    record = await world.storage.get(bad.id)
    assert record is not None
    assert await world.statuses(bad.id, good.id) == [Status.DEAD, Status.DONE]
    assert record.errors[-1].type == "layered.errors.StrayCancellation"


async def test_dependency_whose_task_group_fails_ends_the_worker_with_a_drain(
    world: World,
) -> None:
    """A worker-scoped dependency that breaks may not take the settling of tasks with it."""
    broken, started = anyio.Event(), anyio.Event()

    async def breaks() -> None:
        await broken.wait()
        msg = "the client's own loop ended"
        raise LookupError(msg)

    async def client() -> AsyncIterator[str]:
        async with anyio.create_task_group() as group:
            group.start_soon(breaks)
            yield "client"

    async def send(email: Email, it: Annotated[str, Depends(client, scope="worker")]) -> None:
        if email.to == "long":
            started.set()
            await anyio.sleep_forever()

    done = await world.storage.push(Email())
    long = await world.storage.push(Email("long"))
    raised: list[BaseException] = []

    async def run() -> None:
        try:
            await world.builder().build(send).run()
        except ExceptionGroup as group:
            raised.extend(group.exceptions)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        broken.set()

    record = await world.storage.get(long.id)
    assert record is not None
    assert [str(one) for one in raised] == ["the client's own loop ended"]
    assert await world.statuses(done.id) == [Status.DONE]
    assert (record.status, record.attempt) == (Status.READY, 0)


async def test_dependency_that_cannot_be_set_up_is_raised_as_it_is(world: World) -> None:
    """In no group, and nothing was claimed."""
    refused = ConnectionError("no such host")

    async def client() -> str:
        raise refused

    async def send(email: Email, it: Annotated[str, Depends(client, scope="worker")]) -> None: ...

    pushed = await world.storage.push(Email())

    with pytest.raises(ConnectionError) as raised:
        await world.builder().build(send).run()

    assert raised.value is refused
    assert await world.statuses(pushed.id) == [Status.READY]


@pytest.mark.virtual_time
async def test_drain_with_no_cancel_grace_still_lets_handlers_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Cleaning up takes a few turns of the loop; without them every handler would be stuck."""
    cleaned: list[str] = []

    async def send(email: Email) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            cleaned.append(email.to)

    await world.storage.push(Email())
    worker = world.builder(grace=0.0, cancel_grace=0.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(1)
        worker.context.stop()

    assert cleaned == ["ada@example.org"]
    assert "does not end though cancelled" not in caplog.text


@pytest.mark.virtual_time
async def test_spawned_child_that_swallows_cancellation_is_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A drain says what it waits for."""
    stubborn = anyio.Event()

    async def child() -> None:
        with anyio.CancelScope(shield=True):
            await stubborn.wait()

    async def send(email: Email, ctx: WorkerContext) -> None:
        ctx.spawn(child)
        ctx.stop()

    await world.storage.push(Email())
    async with anyio.create_task_group() as group:
        group.start_soon(world.builder(grace=2.0, cancel_grace=1.0).build(send).run)
        await anyio.sleep(10)
        stubborn.set()

    assert "1 spawned functions do not end" in caplog.text


@pytest.mark.virtual_time
async def test_dropped_result_is_told_when_the_end_is_durable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event about a run that is not stored yet may turn out to be wrong."""

    async def handler(email: Email) -> object:
        return object()

    failing(world, monkeypatch, "settle", Transient("locked"), Transient("still"))
    await world.storage.push(Email())

    await world.builder().build(handler).run(burst=True)

    told = [type(one) for one in world.events if not isinstance(one, StateChanged)]
    assert told == [BackendTroubled, BackendTroubled, ResultDropped, TaskEnded]
