"""The lease keeper in a thread of its own, and the housekeeper, where the store misbehaves."""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import pytest

from layered import (
    Attempt,
    BackendClosed,
    MemoryStorage,
    RetryLayer,
    Status,
    Transient,
    WorkerBuilder,
)
from layered.backend import Claimant, Renew, Renewal, Renews
from layered.task import Run
from layered.worker import BackendTroubled, LateError, TaskEnded, TaskReaped, TaskStale
from layered.worker.events import Bus
from layered.worker.flight import Flight
from layered.worker.housekeeping import REAP_BATCH
from layered.worker.keeper import Keeper

from .conftest import Email, World
from .test_parts import failing, send


class KeptApart(MemoryStorage[Email]):
    """A storage whose keeper runs in a thread, and tells what it was asked."""

    threaded_keeper: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(Email)
        self.opened = 0
        self.asked: list[int] = []
        self.error: Exception | None = None
        self.refusals = 0
        self.open = threading.Event()

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[Renews]:
        """Count the openings, of which the first few may fail."""
        self.opened += 1
        if self.opened <= self.refusals:
            raise ConnectionError
        self.open.set()
        yield _Renewing(self)


class _Renewing:
    def __init__(self, storage: KeptApart) -> None:
        self._storage = storage

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        self._storage.asked.append(len(items))
        if self._storage.error is not None:
            raise self._storage.error
        return [Renewal.OK] * len(items)


async def test_keeper_ends_when_the_store_is_closed() -> None:
    """There is nothing left to renew, and nobody to ask again."""
    storage, flight = KeptApart(), Flight(1)
    storage.error = BackendClosed("closed")
    await storage.push(Email())
    (lease,) = (await storage.claim(Claimant("default", "us"), {"Email": 1}, 1)).leases
    flight.add([Run(lease)])

    with anyio.fail_after(20):
        await Keeper(storage, flight, 0.01, Bus([])).run()

    assert (storage.opened, storage.asked) == (1, [1])


async def test_keeper_that_is_stopped_before_its_thread_begins_opens_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker with nothing to do may end sooner than its keeper has started."""
    storage = KeptApart()
    keeper = Keeper(storage, Flight(1), 30.0, Bus([]))
    real = anyio.to_thread.run_sync

    async def later(*args: Any, **options: Any) -> Any:
        keeper.stop()
        return await real(*args, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", later)

    with anyio.fail_after(20):
        await keeper.run()

    assert storage.opened == 0


@pytest.mark.virtual_time
async def test_keeper_in_the_loop_ends_when_the_store_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a closed store says is no trouble to wait out, for keeper and housekeeper alike."""
    asked: list[float] = []

    async def renew(items: Sequence[Renew], lease: float) -> Any:
        asked.append(anyio.current_time())
        raise BackendClosed

    async def handler(email: Email) -> None:
        monkeypatch.setattr(world.storage, "renew", renew)
        await anyio.sleep(24)  # both have asked by then; the lease ends after 25

    pushed = await world.storage.push(Email())

    await world.builder(lease=30.0).build(handler).run(burst=True)

    assert len(asked) == 2
    assert not [one for one in world.events if isinstance(one, BackendTroubled)]
    assert await world.statuses(pushed.id) == [Status.DONE]


@pytest.mark.virtual_time
async def test_cancellation_that_a_user_asked_the_store_for_reaches_the_handler(
    world: World,
) -> None:
    """A renewal brings it, at the latest after a third of the lease."""

    async def handler(email: Email) -> None:
        world.storage._book.rows[pushed.id].cancel_requested = True
        await anyio.sleep_forever()

    pushed = await world.storage.push(Email())
    began = anyio.current_time()

    with anyio.move_on_after(60):
        await world.builder(lease=6.0).build(handler).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.CANCELLED]
    assert anyio.current_time() - began <= 2.3


@pytest.mark.virtual_time
async def test_lost_task_that_a_user_cancelled_is_reaped_as_cancelled(world: World) -> None:
    """It need not run again to be cancelled."""
    pushed = await world.storage.push(Email())
    await world.storage.claim(Claimant("default", "gone", 5.0), {"Email": 1}, 1)
    world.storage._book.rows[pushed.id].cancel_requested = True
    await anyio.sleep(6)

    (reaped,) = await world.storage.reap(10)

    assert (reaped.id, reaped.status) == (pushed.id, Status.CANCELLED)


@pytest.mark.virtual_time
async def test_housekeeper_reaps_on_until_nothing_is_left() -> None:
    """A crash of a large worker is made good in one go, however small a batch is."""
    storage, told = MemoryStorage(Email), list[TaskReaped]()
    many = REAP_BATCH * 2 + 1
    await storage.push_many([Email()] * many)
    await storage.claim(Claimant("default", "gone", 5.0), {"Email": many}, many)
    await anyio.sleep(6)
    moments: list[float] = []

    async def note(event: object) -> None:
        if isinstance(event, TaskReaped):
            told.append(event)
            moments.append(anyio.current_time())

    worker = WorkerBuilder("w").backend(storage).on_event(note).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(1)
        worker.context.stop()

    assert len(told) == many
    assert len(set(moments)) == 1


@pytest.mark.virtual_time
async def test_renewal_tells_the_store_of_reruns_in_process(world: World) -> None:
    """A crash may forget only what came since the last renewal, so poison is found out."""

    async def handler(email: Email, attempt: Attempt) -> None:
        if attempt < 3:
            raise LookupError
        await anyio.sleep(20)

    pushed = await world.storage.push(Email())
    builder = world.builder(lease=6.0).layer(RetryLayer(3, wait=lambda _: 0.0))
    worker = builder.build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(5)
        record = await world.storage.get(pushed.id)
        worker.context.stop()

    assert record is not None
    assert (record.status, record.attempt) == (Status.RUNNING, 3)


@pytest.mark.virtual_time
async def test_run_whose_lease_was_given_up_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fence may hold still, but what it would write is how it was cancelled."""
    lost = anyio.Event()

    async def away(*args: object) -> Any:
        raise OSError

    async def handler(email: Email) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            lost.set()

    pushed = await world.storage.push(Email())
    monkeypatch.setattr(world.storage, "renew", away)
    worker = world.builder(lease=6.0).build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        with anyio.move_on_after(60):
            await lost.wait()
        await anyio.wait_all_tasks_blocked()
        status = await world.statuses(pushed.id)
        worker.context.stop()

    assert status == [Status.RUNNING]
    assert [one.task_id for one in world.events if isinstance(one, TaskStale)] == [pushed.id]
    assert not [one for one in world.events if isinstance(one, (TaskEnded, LateError))]


async def test_end_that_the_store_refuses_is_told_as_stale_and_not_as_an_end(
    world: World,
) -> None:
    """Another run owns the task by then, and will tell how it ends."""

    async def handler(email: Email) -> None:
        world.storage._book.rows[pushed.id].epoch += 1  # as if reaped and claimed by another

    pushed = await world.storage.push(Email())

    await world.builder().build(handler).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.RUNNING]
    assert [one.task_id for one in world.events if isinstance(one, TaskStale)] == [pushed.id]
    assert world.ended == []


async def test_keeper_opens_its_connection_again_until_that_succeeds() -> None:
    """Trouble is told in the loop of the worker, and waited out."""
    storage, told = KeptApart(), list[object]()
    storage.refusals = 3
    keeper = Keeper(storage, Flight(1), 0.2, bus := Bus([told.append]))
    async with anyio.create_task_group() as group:
        group.start_soon(bus.run)
        group.start_soon(keeper.run)
        await anyio.to_thread.run_sync(storage.open.wait)
        keeper.stop()
        bus.close()

    assert [type(one) for one in told] == [BackendTroubled] * 3
    assert {one.operation for one in told if isinstance(one, BackendTroubled)} == {"keeper"}


@pytest.mark.virtual_time
async def test_renewal_that_fails_is_told_and_tried_again_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blip of the store loses no lease."""

    async def handler(email: Email) -> None:
        await anyio.sleep(20)

    pushed = await world.storage.push(Email())
    failing(world, monkeypatch, "renew", Transient("locked"), OSError("gone"), Transient("still"))

    await world.builder(lease=6.0).build(handler).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    troubled = [one for one in world.events if isinstance(one, BackendTroubled)]
    assert {one.operation for one in troubled} <= {"renew", "housekeeping"}
    assert "renew" in {one.operation for one in troubled}


@pytest.mark.virtual_time
async def test_lease_that_another_worker_took_is_noticed_at_the_next_renewal(
    world: World,
) -> None:
    """After a third of it, and not only when it would have ended."""
    ended: list[float] = []

    async def handler(email: Email) -> None:
        world.storage._book.rows[pushed.id].epoch += 1
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time() - began)

    pushed = await world.storage.push(Email())
    began = anyio.current_time()

    await world.builder(lease=30.0).build(handler).run(burst=True)

    assert 0 < ended[0] <= 11.1


@pytest.mark.virtual_time
async def test_claim_that_took_longer_than_its_lease_begins_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then others may have the tasks."""
    real, ran = world.storage.claim, list[Email]()

    async def slow(*args: Any) -> Any:
        claimed = await real(*args)
        monkeypatch.setattr(world.storage, "claim", real)
        await anyio.sleep(8)
        return claimed

    async def handler(email: Email) -> None:
        ran.append(email)

    pushed = await world.storage.push(Email())
    monkeypatch.setattr(world.storage, "claim", slow)

    await world.builder(lease=6.0).build(handler).run(until_empty=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert (record.status, record.lost, record.attempt) == (Status.DONE, 1, 2)
    assert len(ran) == 1
    assert len([one for one in world.events if isinstance(one, TaskStale)]) == 1


@pytest.mark.virtual_time
async def test_task_within_its_deadline_is_renewed_to_its_end(world: World) -> None:
    """What the store is told of the longest run leaves the deadline to the worker."""

    async def handler(email: Email) -> None:
        await anyio.sleep(9)

    pushed = await world.storage.push(Email())

    await world.builder(lease=6.0).deadline(10).build(handler).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
