"""When a worker claims nothing, although there is something to claim."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from layered import Middleware, Status, Transient
from layered.backend import Settle
from layered.worker import BackendTroubled

from .conftest import Email, World
from .test_cancellation import _leaked_cancellation
from .test_parts import send


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
