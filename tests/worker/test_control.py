"""Control from outside, the whole way: the store, the lease, the handler, the end of the task."""

from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from layered import (
    Attempt,
    CancelReason,
    Inspector,
    RetryAfter,
    RetryLayer,
    SqliteStorage,
    Status,
    TaskId,
    WorkerBuilder,
    WorkerContext,
)
from layered.backend import Answer, Settle, Verdict
from layered.worker import TaskEnded

from .conftest import Email, World, while_running


@pytest.mark.virtual_time
async def test_cancel_in_the_store_reaches_a_running_handler_through_its_lease(
    world: World,
) -> None:
    """Asked for by any process → the next renewal → cancelled, for the user's reason."""
    reasons: list[CancelReason | None] = []

    async def send(email: Email, ctx: WorkerContext) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            reasons.append(ctx.cancel_reason)

    pushed = await world.storage.push(Email())

    async def act() -> None:
        await anyio.sleep(1)
        change = await Inspector(world.storage).cancel(pushed.id)
        assert (change.status, change.changed) == (Status.RUNNING, True)
        await world.storage.wait_for([pushed.id], timeout=20)

    await while_running(world.builder(lease=6.0).build(send), do=act)

    assert reasons == [CancelReason.USER]
    assert [(one.status, one.attempt) for one in world.ended] == [(Status.CANCELLED, 1)]
    assert await world.statuses(pushed.id) == [Status.CANCELLED]
    assert anyio.current_time() <= 6  # what a renewal takes, and the looks of a waiting one


@pytest.mark.virtual_time
async def test_handler_that_finishes_although_it_was_cancelled_stays_done(world: World) -> None:
    """Its work is done, whoever asked for it not to be."""

    async def send(email: Email) -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(10)
        return "sent"

    pushed = await world.storage.push(Email())

    async def act() -> None:
        await anyio.sleep(1)
        await Inspector(world.storage).cancel(pushed.id)
        assert await world.storage.result(pushed.id, send, timeout=20) == "sent"

    await while_running(world.builder(lease=6.0).build(send), do=act)

    assert [one.status for one in world.ended] == [Status.DONE]


@pytest.mark.virtual_time
@pytest.mark.parametrize("raised", [OSError("gone"), RetryAfter(60)], ids=["error", "outcome"])
async def test_run_that_fails_when_it_was_cancelled_is_not_retried(
    world: World, raised: Exception
) -> None:
    """Whatever a handler makes of its cancellation: it was asked to stop."""
    attempts: list[int] = []

    async def send(email: Email, attempt: Attempt) -> None:
        attempts.append(attempt)
        try:
            await anyio.sleep_forever()
        finally:
            raise raised

    pushed = await world.storage.push(Email())

    async def act() -> None:
        await anyio.sleep(1)
        await Inspector(world.storage).cancel(pushed.id)
        await world.storage.wait_for([pushed.id], timeout=20)

    await while_running(world.builder(lease=6.0).retry(9).build(send), do=act)

    assert attempts == [1]
    assert [one.status for one in world.ended] == [Status.CANCELLED]


@pytest.mark.virtual_time
async def test_run_that_fails_before_it_heard_of_its_cancel_is_not_retried(world: World) -> None:
    """The store knows, if the worker does not yet."""

    async def send(email: Email) -> None:
        await Inspector(world.storage).cancel(pushed.id)
        raise OSError

    pushed = await world.storage.push(Email())

    await world.builder().layer(RetryLayer(9, wait=lambda _: 60.0)).build(send).run(burst=True)

    assert [one.status for one in world.ended] == [Status.CANCELLED]
    assert await world.statuses(pushed.id) == [Status.CANCELLED]


@pytest.mark.virtual_time
@pytest.mark.parametrize(("hold", "seconds"), [(60.0, 10), (0.0, 2)], ids=["held", "stored"])
async def test_task_that_waits_for_its_next_run_is_cancelled(
    world: World, hold: float, seconds: float
) -> None:
    """Held by a worker it is cancelled by its lease, in the store at once; it never runs again."""
    attempts: list[int] = []

    async def send(email: Email, attempt: Attempt) -> None:
        attempts.append(attempt)
        raise OSError

    pushed = await world.storage.push(Email())
    policy = RetryLayer(3, wait=lambda _: 30.0, hold=hold)

    async def act() -> None:
        await anyio.sleep(1)
        await Inspector(world.storage).cancel(pushed.id)
        await world.storage.wait_for([pushed.id], timeout=seconds)
        await anyio.sleep(100)

    await while_running(world.builder(lease=6.0).layer(policy).build(send), do=act)

    assert attempts == [1]
    assert await world.statuses(pushed.id) == [Status.CANCELLED]


@pytest.mark.virtual_time
async def test_paused_queue_is_not_claimed_from_until_it_is_resumed(world: World) -> None:
    """What runs goes on; the resuming is a hint, and does not wait for the next look."""
    inspector, ran = Inspector(world.storage), list[float]()
    world.storage.__dict__["poll"] = 1000.0

    async def send(email: Email) -> None:
        ran.append(anyio.current_time())
        await anyio.sleep(10)

    async def act() -> None:
        first = await world.storage.push(Email())
        await anyio.sleep(1)
        await inspector.pause()
        await world.storage.push(Email())
        await anyio.sleep(50)
        assert await world.statuses(first.id) == [Status.DONE]
        assert len(ran) == 1
        await inspector.resume()
        await anyio.sleep(1)

    began = anyio.current_time()
    await while_running(world.builder().build(send), do=act)

    assert ran == pytest.approx([began, began + 51], abs=0.1)


@pytest.mark.virtual_time
async def test_pause_until_an_instant_ends_by_itself(world: World) -> None:
    """A worker looks again when the store says, not at its next poll."""
    world.storage.__dict__["poll"] = 1000.0
    ran: list[float] = []

    async def send(email: Email) -> None:
        ran.append(anyio.current_time())

    pushed = await world.storage.push(Email())
    record = await world.storage.get(pushed.id)
    assert record is not None
    await Inspector(world.storage).pause(until=record.created_at + timedelta(seconds=30))
    began = anyio.current_time()

    await world.builder().build(send).run(until_empty=True)

    assert ran == pytest.approx([began + 30], abs=0.1)


async def test_cancel_by_another_process_reaches_a_handler_over_a_file(tmp_path: Path) -> None:
    """The keeper has it from the file, in its thread; another storage is the other process."""
    started, reasons = anyio.Event(), list[CancelReason | None]()

    async def send(email: Email, ctx: WorkerContext) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            reasons.append(ctx.cancel_reason)

    path = tmp_path / "tasks.db"
    async with SqliteStorage(path, Email) as storage, SqliteStorage(path, object) as other:
        pushed = await storage.push(Email())
        worker = WorkerBuilder("w").backend(storage).configure(lease=0.5).build(send)

        async def act() -> None:
            await started.wait()
            await Inspector(other).cancel(pushed.id)
            (record,) = await other.wait_for([pushed.id], timeout=30)
            assert record.status is Status.CANCELLED

        await while_running(worker, do=act)

    assert reasons == [CancelReason.USER]


async def test_requeued_task_runs_again_from_its_first_attempt(world: World) -> None:
    """Its past is in its errors; its arguments are the same."""
    seen: list[tuple[str, int]] = []

    async def send(email: Email, task_id: TaskId, attempt: Attempt) -> str:
        seen.append((task_id, attempt))
        if len(seen) < 3:
            raise OSError
        return "sent"

    pushed = await world.storage.push(Email())
    worker = world.builder().layer(RetryLayer(2, wait=lambda _: 0.0)).build(send)
    await worker.run(burst=True)

    await Inspector(world.storage).requeue(pushed.id)
    await worker.run(burst=True)

    assert seen == [(pushed.id, 1), (pushed.id, 2), (pushed.id, 1)]
    assert await world.storage.result(pushed.id, send) == "sent"


async def test_repeated_end_of_a_cancelled_run_is_told_as_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write that was answered by nobody has cancelled the task, not retried it."""

    async def send(email: Email) -> None:
        await Inspector(world.storage).cancel(pushed.id)
        raise RetryAfter(60)

    real, lost = world.storage.settle, list[Settle]()

    async def settle(items: list[Settle]) -> object:
        answers = await real(items)
        if not lost:
            lost.extend(items)
            raise ConnectionError
        return answers

    pushed = await world.storage.push(Email())
    monkeypatch.setattr(world.storage, "settle", settle)

    await world.builder().build(send).run(burst=True)

    assert await real(lost) == [Answer(Verdict.ALREADY, Status.CANCELLED)]
    assert [one.status for one in world.events if isinstance(one, TaskEnded)] == [Status.CANCELLED]
