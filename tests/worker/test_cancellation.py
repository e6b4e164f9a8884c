"""Why a handler is cancelled, and what is written then: one test for each row of the table."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

import anyio
import anyio.to_thread
import pytest

from layered import (
    Attempt,
    CancelReason,
    DeadlineExceeded,
    Depends,
    Elapsed,
    RetryLayer,
    Status,
    TaskId,
    WorkerContext,
)
from layered.worker import State, TaskEnded, TaskStale

from .conftest import Email, World


@pytest.mark.virtual_time
async def test_attempt_timeout_is_an_elapsed_that_the_retry_policy_sees(world: World) -> None:
    """Attempt timeout → Elapsed → retried like any other error."""
    attempts: list[int] = []

    async def send(email: Email, attempt: Attempt) -> str:
        attempts.append(attempt)
        if attempt == 1:
            await anyio.sleep_forever()
        return "sent"

    pushed = await world.storage.push(Email())

    await world.builder().retry(3).timeout(2).build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert (record.status, record.attempt, attempts) == (Status.DONE, 2, [1, 2])


@pytest.mark.virtual_time
async def test_attempt_timeout_without_retry_is_a_dead_task(world: World) -> None:
    """Attempt timeout → Elapsed → final, where nothing retries."""

    async def send(email: Email) -> None:
        await anyio.sleep_forever()

    pushed = await world.storage.push(Email())

    await world.builder().timeout(2).build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert record.status is Status.DEAD
    assert record.errors[-1].type == f"{Elapsed.__module__}.Elapsed"
    assert anyio.current_time() == pytest.approx(2, abs=0.1)


@pytest.mark.virtual_time
async def test_deadline_ends_the_whole_task_retries_and_waits_included(world: World) -> None:
    """Deadline → failure, outside the stack: no retry sees it."""
    reasons: list[CancelReason | None] = []
    runs: list[float] = []

    async def send(email: Email, ctx: WorkerContext) -> None:
        runs.append(anyio.current_time())
        try:
            await anyio.sleep(4)
        finally:
            reasons.append(ctx.cancel_reason)
        raise ConnectionError

    pushed = await world.storage.push(Email())

    worker = world.builder().deadline(10).layer(RetryLayer(100, wait=_no_wait)).build(send)
    await worker.run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert record.status is Status.DEAD
    assert record.errors[-1].type == "layered.errors.DeadlineExceeded"
    assert "10" in record.errors[-1].message
    assert len(runs) == 3
    assert reasons == [None, None, CancelReason.DEADLINE]
    assert anyio.current_time() == pytest.approx(10, abs=0.1)


@pytest.mark.virtual_time
async def test_deadline_is_told_as_such_and_not_as_the_cancellation(world: World) -> None:
    """A listener that raised the loop's own cancellation would cancel somebody else."""
    await world.storage.push(Email())

    async def send(email: Email) -> None:
        await anyio.sleep_forever()

    await world.builder().deadline(10).build(send).run(burst=True)

    (ended,) = world.ended
    assert ended.status is Status.DEAD
    assert isinstance(ended.error, DeadlineExceeded)
    assert ended.error.seconds == 10


def _no_wait(state: object) -> float:
    return 0.0


async def test_user_cancel_settles_the_task_as_cancelled(world: World) -> None:
    """User cancel → cancelled; the handler has time to clean up."""
    started, cleaned = anyio.Event(), anyio.Event()

    async def send(email: Email) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            cleaned.set()

    pushed = await world.storage.push(Email())
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        found = worker.context.cancel(pushed.id)
        await world.storage.wait_for([pushed.id])
        again = worker.context.cancel(pushed.id)
        worker.context.stop()

    assert (found, again) == (True, False)
    assert cleaned.is_set()
    assert await world.statuses(pushed.id) == [Status.CANCELLED]


@pytest.mark.virtual_time
async def test_lost_lease_cancels_the_handler_and_writes_nothing(world: World) -> None:
    """Lease lost → no write: another run owns the task by now."""
    reasons: list[CancelReason | None] = []
    lost = anyio.Event()

    async def send(email: Email, ctx: WorkerContext) -> None:
        if len(reasons) == 0:
            row = world.storage._book.rows[pushed.id]
            row.epoch += 1  # as if reaped and claimed by another worker
            try:
                await anyio.sleep_forever()
            finally:
                reasons.append(ctx.cancel_reason)
                lost.set()

    pushed = await world.storage.push(Email())
    worker = world.builder(lease=3.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await lost.wait()
        await anyio.sleep(0.1)
        status = await world.statuses(pushed.id)
        worker.context.stop()

    assert reasons == [CancelReason.LEASE_LOST]
    assert status == [Status.RUNNING]
    assert [one.task_id for one in world.events if isinstance(one, TaskStale)] == [pushed.id]
    assert not [one for one in world.events if isinstance(one, TaskEnded)]


@pytest.mark.virtual_time
async def test_lease_that_cannot_be_renewed_is_given_up_before_it_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the store away, the handler is cancelled before others can claim."""
    reasons: list[tuple[CancelReason | None, float]] = []
    lost = anyio.Event()

    async def broken(*args: object) -> Any:
        raise OSError

    async def send(email: Email, ctx: WorkerContext) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            reasons.append((ctx.cancel_reason, anyio.current_time()))
            lost.set()

    await world.storage.push(Email())
    monkeypatch.setattr(world.storage, "renew", broken)
    worker = world.builder(lease=6.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        with anyio.move_on_after(60):
            await lost.wait()
        worker.context.stop()

    ((reason, when),) = reasons
    assert reason is CancelReason.LEASE_LOST
    assert 4.9 <= when < 6.0


@pytest.mark.virtual_time
async def test_drain_releases_what_does_not_end_in_grace_uncharged(world: World) -> None:
    """Drain → release, uncharged; what ends in grace is done."""
    reasons: list[CancelReason | None] = []

    async def send(email: Email, ctx: WorkerContext) -> None:
        try:
            await anyio.sleep(float(email.to))
        except BaseException:
            reasons.append(ctx.cancel_reason)
            raise

    short = await world.storage.push(Email("5"))
    long = await world.storage.push(Email("500"))
    worker = world.builder(grace=10.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(1)
        worker.context.stop()

    record = await world.storage.get(long.id)
    assert record is not None
    assert await world.statuses(short.id) == [Status.DONE]
    assert (record.status, record.attempt) == (Status.READY, 0)
    assert reasons == [CancelReason.DRAIN]
    assert anyio.current_time() == pytest.approx(11, abs=0.2)


async def test_drain_releases_at_once_what_never_started(world: World) -> None:
    """Claimed, not started → released at the drain's begin, no attempt burned."""
    ran: list[str] = []

    async def send(email: Email, ctx: WorkerContext, task_id: TaskId) -> None:
        ran.append(task_id)
        ctx.stop()

    pushed = await world.storage.push_many([Email()] * 200)

    await world.builder(concurrency=200, batch=200).build(send).run()

    records = [await world.storage.get(one.id) for one in pushed]
    rest = [one for one in records if one and one.id not in ran]
    assert 0 < len(ran) <= 50
    assert {(one.status, one.attempt, one.epoch) for one in rest} == {(Status.READY, 0, 1)}


@pytest.mark.parametrize("stop", [SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_exit_raised_by_a_handler_releases_its_task_and_propagates(
    world: World, stop: BaseException
) -> None:
    """SystemExit, KeyboardInterrupt → release, then propagate from run()."""
    other_started = anyio.Event()

    async def send(email: Email) -> None:
        if email.to == "other":
            other_started.set()
            await anyio.sleep_forever()
        await other_started.wait()
        raise stop

    first = await world.storage.push(Email("exit"))
    other = await world.storage.push(Email("other"))

    with pytest.raises(type(stop)) as raised:
        await world.builder().build(send).run()

    assert raised.value is stop
    records = [await world.storage.get(one.id) for one in (first, other)]
    assert [(one.status, one.attempt) for one in records if one] == [(Status.READY, 0)] * 2


async def test_stray_cancellation_fails_its_task_and_spares_the_worker(world: World) -> None:
    """A cancellation that nobody asked for is the task's failure; consumers go on."""

    async def send(email: Email) -> None:
        if email.to == "stray":
            raise await _leaked_cancellation()

    bad = [(await world.storage.push(Email("stray"))).id for _ in range(3)]
    good = await world.storage.push(Email())

    await world.builder(concurrency=2).build(send).run(burst=True)

    record = await world.storage.get(bad[0])
    assert record is not None
    assert await world.statuses(*bad, good.id) == [*[Status.DEAD] * 3, Status.DONE]
    assert record.errors[-1].type == "layered.errors.StrayCancellation"


async def _leaked_cancellation() -> BaseException:
    """Carry a cancellation out of the scope that it belongs to."""
    leaked: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            leaked.append(error)
            raise
    return leaked[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_awaiting_a_cancelled_future_is_a_stray_cancellation(world: World) -> None:
    """The common case on asyncio: a future that somebody cancelled long ago."""

    async def send(email: Email) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def native(email: Email) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.lowlevel.checkpoint()

    for handler in (send, native):
        pushed = await world.storage.push(Email())
        await world.builder(concurrency=1).build(handler).run(burst=True)
        assert await world.statuses(pushed.id) == [Status.DEAD]


async def test_cancelling_run_drains_without_grace_and_settles(world: World) -> None:
    """Cancelling run() from outside: ended tasks are settled, the others given back."""
    started = anyio.Event()

    async def send(email: Email) -> None:
        if email.to == "long":
            started.set()
            await anyio.sleep_forever()

    done = await world.storage.push(Email())
    long = await world.storage.push(Email("long"))
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        group.cancel_scope.cancel()

    record = await world.storage.get(long.id)
    assert record is not None
    assert await world.statuses(done.id) == [Status.DONE]
    assert (record.status, record.attempt) == (Status.READY, 0)
    assert worker.state is State.STOPPED


async def test_handler_that_finishes_although_cancelled_keeps_its_result(world: World) -> None:
    """A result is worth more than a cancellation that came too late, if the fence holds."""
    started = anyio.Event()

    async def send(email: Email) -> str:
        started.set()
        with suppress(anyio.get_cancelled_exc_class()):  # swallows it, as some libraries do
            await anyio.sleep_forever()
        return "sent all the same"

    pushed = await world.storage.push(Email())
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        worker.context.cancel(pushed.id)
        await world.storage.wait_for([pushed.id])
        worker.context.stop()

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert record.status is Status.DONE
    assert record.result_as(str) == "sent all the same"


async def test_teardown_is_shielded_when_the_handler_is_cancelled(world: World) -> None:
    """What a dependency gave is taken back in peace, before the task is settled."""
    started = anyio.Event()
    steps: list[str] = []

    async def connection() -> AsyncIterator[str]:
        try:
            yield "connection"
        finally:
            await anyio.lowlevel.checkpoint()
            steps.append("closed")

    async def send(email: Email, db: Annotated[str, Depends(connection)]) -> None:
        started.set()
        await anyio.sleep_forever()

    pushed = await world.storage.push(Email())
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        worker.context.cancel(pushed.id)
        await world.storage.wait_for([pushed.id])
        steps.append("settled")
        worker.context.stop()

    assert steps == ["closed", "settled"]


async def test_plain_function_past_its_timeout_keeps_its_place_until_it_returns(
    world: World,
) -> None:
    """A thread is never abandoned: its place stays taken; then Elapsed, then a retry."""
    overlapping: list[int] = []
    running = 0
    lock = threading.Lock()
    told: list[bool] = []

    def send(email: Email, ctx: WorkerContext, attempt: Attempt) -> str:
        nonlocal running
        with lock:
            running += 1
            overlapping.append(running)
        while attempt == 1 and not ctx.cancelled:
            threading.Event().wait(0.005)
        told.append(ctx.cancelled)
        with lock:
            running -= 1
        return f"attempt {attempt}"

    pushed = await world.storage.push(Email())

    worker = world.builder().concurrency(1).layer(RetryLayer(2, wait=_no_wait)).timeout(0.05)
    await worker.build(send).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert (record.status, record.attempt) == (Status.DONE, 2)
    assert record.result_as(str) == "attempt 2"
    assert overlapping == [1, 1]
    assert told == [True, False]


@pytest.mark.virtual_time
async def test_handler_that_never_ends_is_given_back_and_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A drain does not wait for ever for one who swallows cancellation."""
    stubborn = anyio.Event()

    async def send(email: Email) -> None:
        with anyio.CancelScope(shield=True):
            await stubborn.wait()

    pushed = await world.storage.push(Email())
    worker = world.builder(grace=5.0, cancel_grace=2.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(1)
        worker.context.stop()
        await anyio.sleep(8)
        record = await world.storage.get(pushed.id)
        stubborn.set()

    assert record is not None
    assert (record.status, record.attempt) == (Status.READY, 0)
    assert "does not end though cancelled" in caplog.text
