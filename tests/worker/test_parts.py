"""The parts of a worker alone: settler, keeper, poll, states."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from layered import (
    BackendClosed,
    Fatal,
    Full,
    MemoryStorage,
    Status,
    TaskId,
    Transient,
    WorkerContext,
)
from layered.backend import Claimant, Claimed, Poll, Settle
from layered.worker import BackendTroubled, TaskEnded, TaskStale
from layered.worker.states import MOVES, Machine, State

from .conftest import Email, World


def failing(world: World, monkeypatch: pytest.MonkeyPatch, operation: str, *errors: Any) -> None:
    """Let *operation* of the storage raise *errors* first, or for ever if the last is repeated."""
    left = list(errors)
    real = getattr(world.storage, operation)

    async def moody(*args: Any) -> Any:
        if left:
            error = left[0] if len(left) == 1 and errors[0] is errors[-1] else left.pop(0)
            raise error
        return await real(*args)

    monkeypatch.setattr(world.storage, operation, moody)


async def send(email: Email) -> str:
    """Handle."""
    return "sent"


@pytest.mark.virtual_time
@pytest.mark.parametrize("error", [Transient("locked"), Full("disk"), OSError("gone")], ids=repr)
async def test_settle_that_fails_is_tried_again_and_speaks_only_when_durable(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The handler ran once; its end is written as soon as the store takes it."""
    runs: list[Email] = []

    async def handler(email: Email) -> str:
        runs.append(email)
        return "sent"

    pushed = [await world.storage.push(Email()) for _ in range(3)]
    failing(world, monkeypatch, "settle", error, Transient("still"))

    await world.builder().build(handler).run(burst=True)

    assert await world.statuses(*[one.id for one in pushed]) == [Status.DONE] * 3
    assert len(runs) == 3
    told = [type(one) for one in world.events if isinstance(one, (BackendTroubled, TaskEnded))]
    assert told[0] is BackendTroubled
    assert told[-3:] == [TaskEnded] * 3


@pytest.mark.virtual_time
async def test_settle_that_fails_until_the_lease_ends_is_stale(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then another worker may have the task; nothing is claimed to be done."""
    await world.storage.push(Email())
    failing(world, monkeypatch, "settle", *[Transient("away")] * 2)
    failing(world, monkeypatch, "renew", *[Transient("away")] * 2)
    worker = world.builder(lease=6.0).build(send)

    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(7)  # the local end of the lease, and the longest wait between tries
        stale = [one for one in world.events if isinstance(one, TaskStale)]
        group.cancel_scope.cancel()

    assert len(stale) == 1
    assert world.ended == []


@pytest.mark.virtual_time
@pytest.mark.parametrize("error", [Fatal("corrupt"), BackendClosed("closed")], ids=repr)
async def test_settle_that_fails_for_good_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A closed or corrupt store holds up no drain."""
    await world.storage.push(Email())
    failing(world, monkeypatch, "settle", error, error)

    with anyio.fail_after(60):
        await world.builder().build(send).run(burst=True)

    assert [type(one) for one in world.events if isinstance(one, TaskStale)] == [TaskStale]


@pytest.mark.virtual_time
async def test_one_bad_settle_does_not_hold_up_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that chokes on one row gets the others without it."""
    good = [(await world.storage.push(Email())).id for _ in range(4)]
    bad = (await world.storage.push(Email())).id
    real = world.storage.settle

    async def choking(items: Sequence[Settle]) -> Any:
        if any(item.fence.id == bad for item in items):
            raise ValueError(bad)
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", choking)
    worker = world.builder(lease=3.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(1)
        statuses = await world.statuses(*good)
        group.cancel_scope.cancel()

    assert statuses == [Status.DONE] * 4


@pytest.mark.virtual_time
async def test_claim_that_fails_is_tried_again_with_work_in_flight_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blip of the store drops nothing."""
    pushed = await world.storage.push(Email())
    failing(world, monkeypatch, "claim", Transient("locked"), OSError("gone"))

    await world.builder().build(send).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    troubled = [one for one in world.events if isinstance(one, BackendTroubled)]
    assert [one.operation for one in troubled] == ["claim", "claim"]
    assert troubled[1].delay > troubled[0].delay


@pytest.mark.virtual_time
async def test_count_that_fails_does_not_end_a_worker_that_waits_for_empty(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking whether everything is done is tried again like a claim."""
    failing(world, monkeypatch, "counts", Transient("locked"), OSError("gone"))
    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(until_empty=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert len([one for one in world.events if isinstance(one, BackendTroubled)]) == 2


@pytest.mark.parametrize("error", [Fatal("newer schema"), BackendClosed("closed")], ids=repr)
async def test_store_that_cannot_be_used_ends_the_worker(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Trying again is no use: run() raises it, after a drain."""
    failing(world, monkeypatch, "claim", error)

    with pytest.raises(type(error)) as raised:
        await world.builder().build(send).run()

    assert raised.value is error


async def test_check_that_fails_ends_the_worker_before_it_claims(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong store is found at the start."""
    pushed = await world.storage.push(Email())
    failing(world, monkeypatch, "check", Fatal("newer schema"))

    with pytest.raises(Fatal):
        await world.builder().build(send).run()

    assert await world.statuses(pushed.id) == [Status.READY]


@pytest.mark.virtual_time
async def test_drain_ends_in_time_with_the_store_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every phase is limited."""
    started = anyio.Event()

    async def stuck(*args: Any) -> Any:
        await anyio.sleep_forever()

    async def handler(email: Email) -> None:
        started.set()
        await anyio.sleep_forever()

    await world.storage.push(Email())
    worker = world.builder(grace=4.0, cancel_grace=2.0).build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        for operation in ("claim", "settle", "release", "renew", "reap", "prune"):
            monkeypatch.setattr(world.storage, operation, stuck)
        began = anyio.current_time()
        await world.storage.push(Email())
        await anyio.lowlevel.checkpoint()
        worker.context.stop()

    assert anyio.current_time() - began <= 4 + 2 + 2 + 2


@pytest.mark.virtual_time
async def test_leases_are_renewed_through_a_long_task_and_its_drain(world: World) -> None:
    """A task ten leases long is never reaped, not even while the worker drains."""
    started = anyio.Event()

    async def handler(email: Email) -> None:
        started.set()
        await anyio.sleep(60)

    pushed = await world.storage.push(Email())
    worker = world.builder(lease=6.0, grace=100.0).build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await started.wait()
        worker.context.stop()
        await anyio.sleep(50)
        reaped = await world.storage.reap(10)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert list(reaped) == []
    assert (record.status, record.lost, record.attempt) == (Status.DONE, 0, 1)


@pytest.mark.virtual_time
async def test_task_of_a_lost_worker_runs_again_here(world: World) -> None:
    """Every worker reaps; the lost run is counted apart from failures."""
    pushed = await world.storage.push(Email())
    await world.storage.claim(Claimant("default", "gone", 5.0), {"Email": 1}, 1)

    await world.builder(lease=4.0).build(send).run(until_empty=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert (record.status, record.lost, record.attempt) == (Status.DONE, 1, 2)


@pytest.mark.virtual_time
async def test_poll_is_latched(world: World) -> None:
    """It waits only where a claim began after the last hint and found nothing."""
    poll = Poll(world.storage)
    waits: list[float] = []

    async def wait() -> None:
        began = anyio.current_time()
        await poll.wait()
        waits.append(anyio.current_time() - began)

    with poll.listening():
        await wait()
        poll.begin()
        poll.end(Claimed([], more=True))
        await wait()
        poll.begin()
        world.storage.pushed.notify()
        poll.end(Claimed([]))
        await wait()
        poll.begin()
        poll.end(Claimed([], next_due_in=0.25))
        await wait()
        poll.begin()
        poll.end(Claimed([]))
        await wait()

    assert waits[:3] == [0, 0, 0]
    assert waits[3] == pytest.approx(0.25)
    assert 0.8 <= waits[4] <= 1.2


async def test_machine_makes_legal_moves_only() -> None:
    """Every move not in the table is refused."""
    for state in State:
        for move in ("run", "pause", "resume", "stop", "ended"):
            machine = Machine("w", lambda _: None)
            machine.state = state
            if (state, move) in MOVES:
                machine.move(move)
                assert machine.state is MOVES[state, move]
            else:
                with pytest.raises(Exception, match=f"is {state.value}: it cannot '{move}'"):
                    machine.move(move)


async def test_storage_without_loop_pieces_can_be_built_anywhere() -> None:
    """Workers are often built at import, before any loop runs."""
    storage = await anyio.to_thread.run_sync(MemoryStorage, Email)

    assert repr(storage) == "MemoryStorage(Email, queue='default')"


@pytest.mark.virtual_time
async def test_deadline_shorter_than_the_lease_is_noticed_in_time(world: World) -> None:
    """A run that starts while the ticker sleeps is not late."""
    ended: list[float] = []

    async def handler(email: Email) -> None:
        began = anyio.current_time()
        try:
            await anyio.sleep(30)
        finally:
            ended.append(anyio.current_time() - began)

    worker = world.builder(concurrency=1).deadline(1).build(handler)
    await world.storage.push_many([Email()] * 3)

    await worker.run(burst=True)

    assert ended == [pytest.approx(1, abs=0.05)] * 3


async def test_error_of_the_stop_signal_is_raised_after_the_drain(world: World) -> None:
    """As it is, in no group."""
    stopping = LookupError("no such signal")

    async def stop() -> None:
        raise stopping

    with pytest.raises(LookupError) as raised:
        await world.builder().build(send).run_until(stop)

    assert raised.value is stopping


async def test_error_of_the_worker_ends_the_wait_for_the_stop_signal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is, in no group."""
    error = Fatal("corrupt")
    failing(world, monkeypatch, "claim", error)

    with pytest.raises(Fatal) as raised:
        await world.builder().build(send).run_until(anyio.sleep_forever)

    assert raised.value is error


async def test_cancelling_a_task_that_has_ended_says_no(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for its settle can no longer be cancelled."""
    answers: list[bool] = []

    async def handler(email: Email, ctx: WorkerContext, task_id: TaskId) -> None:
        contexts.append((ctx, task_id))

    contexts: list[tuple[WorkerContext, str]] = []
    real = world.storage.settle

    async def settle(items: Sequence[Settle]) -> Any:
        answers.extend(ctx.cancel(task_id) for ctx, task_id in contexts)
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", settle)
    pushed = await world.storage.push(Email())

    await world.builder().build(handler).run(burst=True)

    assert answers == [False]
    assert await world.statuses(pushed.id) == [Status.DONE]
