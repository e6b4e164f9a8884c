"""When a worker claims nothing, although there is something to claim."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest

from layered import (
    Full,
    MemoryStorage,
    Middleware,
    Router,
    Status,
    Task,
    Transient,
    WorkerBuilder,
)
from layered.backend import Settle
from layered.worker import BackendTroubled

from .conftest import Email, World
from .test_cancellation import _leaked_cancellation
from .test_parts import send
from .test_regressions import OneAtOnce


async def test_tasks_that_are_not_durably_settled_hold_back_the_fetch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is slow to settle is not given more and more to forget in a crash."""
    real, go_on = world.storage.settle, anyio.Event()

    async def slow(items: Sequence[Settle]) -> Any:
        await go_on.wait()
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", slow)
    ids = [(await world.storage.push(Email())).id for _ in range(100)]
    worker = world.builder(concurrency=3).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.wait_all_tasks_blocked()
        held = worker.context.in_flight
        waiting = (await world.statuses(*ids)).count(Status.READY)
        go_on.set()
        await world.storage.wait_for(ids)
        worker.context.stop()

    assert (held, waiting) == (64, 36)


@pytest.mark.virtual_time
async def test_drain_settles_what_held_back_the_fetch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as may be in flight, all of them ended; none of the others is touched."""
    real, asked = world.storage.settle, anyio.Event()

    async def slow(items: Sequence[Settle]) -> Any:
        asked.set()
        await anyio.sleep(2)
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", slow)
    ids = [(await world.storage.push(Email())).id for _ in range(100)]
    worker = world.builder(concurrency=3).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await asked.wait()
        await anyio.sleep(1)
        worker.context.stop()

    statuses = await world.statuses(*ids)
    assert (statuses.count(Status.DONE), statuses.count(Status.READY)) == (64, 36)


@pytest.mark.virtual_time
async def test_paused_worker_claims_nothing_when_a_handler_ends(world: World) -> None:
    """A free consumer is no reason to look, for however long."""
    began = anyio.Event()

    async def handler(email: Email) -> None:
        began.set()
        await anyio.sleep(5)

    first = await world.storage.push(Email())
    worker = world.builder(concurrency=1).build(handler)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await began.wait()
        second = await world.storage.push(Email())
        worker.context.pause()
        await anyio.sleep(3600)
        paused = await world.statuses(first.id, second.id)
        worker.context.resume()
        await world.storage.wait_for([second.id])
        worker.context.stop()

    assert paused == [Status.DONE, Status.READY]


@pytest.mark.virtual_time
async def test_claim_that_fails_while_the_worker_stops_is_not_waited_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There will be no next claim to wait for."""
    asked = anyio.Event()
    moments: list[float] = []

    async def away(*args: Any) -> Any:
        asked.set()
        await anyio.sleep(1)
        moments.append(anyio.current_time())
        raise Transient

    monkeypatch.setattr(world.storage, "claim", away)
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await asked.wait()
        worker.context.stop()

    assert moments == [anyio.current_time()]


@pytest.mark.virtual_time
async def test_readiness_that_ends_with_a_stray_cancellation_is_waited_out(world: World) -> None:
    """A layer's own trouble, like any error of it: nobody asked to cancel the worker."""
    failures: list[BaseException] = []

    class Moody(Middleware[Any, Any]):
        async def ready(self) -> None:
            if len(failures) < 3:
                failures.append(await _leaked_cancellation())
                raise failures[-1]

    pushed = await world.storage.push(Email())

    await world.builder().layer(Moody).build(send).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    troubled = [one.error for one in world.events if isinstance(one, BackendTroubled)]
    assert [str(one)[:37] for one in troubled] == ["a layer's ready() ended with a cancel"] * 3


@pytest.mark.virtual_time
@pytest.mark.parametrize(("error", "longest"), [(Transient, 3.0), (Full, 60.0)])
async def test_store_that_is_away_is_asked_less_and_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[Exception], longest: float
) -> None:
    """Many workers must not keep a store down; one without room needs somebody to make some."""
    asked: list[float] = []

    async def away(*args: Any) -> Any:
        asked.append(anyio.current_time())
        raise error

    monkeypatch.setattr(world.storage, "claim", away)
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(3600)
        worker.context.stop()

    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses[0] < 0.1
    assert 0.8 * longest < max(pauses) < 1.3 * longest
    assert len(asked) < 3600 / longest * 1.25 + 20


class Closed:
    """A handler service that has no room until it is opened."""

    def __init__(self) -> None:
        self.opened = anyio.Event()

    async def call(self, task: Task[int]) -> None:
        """Do nothing."""

    async def ready(self) -> None:
        """Wait for room."""
        await self.opened.wait()

    def capacity(self) -> int:
        """Tell whether there is room."""
        return 5 if self.opened.is_set() else 0


@pytest.mark.virtual_time
async def test_burst_waits_for_a_name_that_has_no_room_yet() -> None:
    """That nothing else is left does not mean that nothing is."""
    storage, closed = MemoryStorage(Email | int), Closed()
    router = Router().route(Email, send).route(int, closed)
    number, email = await storage.push(5), await storage.push(Email())
    worker = WorkerBuilder("w").backend(storage).build(router)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(worker.run, burst=True))
        await anyio.sleep(30)
        (waiting, _) = await storage.fetch([number.id, email.id])
        closed.opened.set()

    records = await storage.wait_for([number.id, email.id])
    assert waiting is not None
    assert waiting.status is Status.READY
    assert [one.status for one in records] == [Status.DONE] * 2


@pytest.mark.virtual_time
async def test_room_that_comes_back_in_a_branch_is_used_at_once() -> None:
    """Without waiting for the poll, also by a worker that runs on."""
    storage, service = MemoryStorage(Email | int), OneAtOnce()
    router = Router().route(Email, send).route(int, service)
    ids = [(await storage.push(number)).id for number in range(10)]
    began = anyio.current_time()
    worker = WorkerBuilder("w").backend(storage).build(router)

    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await storage.wait_for(ids)
        took = anyio.current_time() - began
        worker.context.stop()

    assert service.peak == 1
    assert took < 0.5
