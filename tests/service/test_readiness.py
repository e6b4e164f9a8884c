"""The right and the wrong uses of `ready` and `capacity`, as in the essay of the contract."""

from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from layered import ConcurrencyLimitLayer, Middleware, Permits
from tests.layers.inner import Held

pytestmark = pytest.mark.virtual_time


class Overloaded(Exception):
    """There was no room."""


class Shed(Middleware[Any, Any]):
    """Looks, then calls at once."""

    async def call(self, request: Any, /) -> Any:
        if self.inner.capacity() <= 0:
            raise Overloaded
        return await self.inner.call(request)


class LateShed(Middleware[Any, Any]):
    """Awaits something in between, so that its look is stale."""

    async def call(self, request: Any, /) -> Any:
        if self.inner.capacity() <= 0:
            raise Overloaded
        await anyio.lowlevel.checkpoint()
        return await self.inner.call(request)


@pytest.mark.parametrize(("middleware", "shed"), [(Shed, 8), (LateShed, 0)])
async def test_a_look_at_the_capacity_holds_until_something_is_awaited(
    middleware: type[Middleware[Any, Any]], shed: int
) -> None:
    """Ten callers, limit two: looked at once, eight are shed; late, none, but the limit holds."""
    inner = Held()
    service = middleware(ConcurrencyLimitLayer(2).layer(inner))
    refused = []

    async def call(number: int) -> None:
        try:
            await service.call(number)
        except Overloaded:
            refused.append(number)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(call, number)
        await wait_all_tasks_blocked()
        while inner.active:
            inner.finish(inner.active[0])
            await wait_all_tasks_blocked()

    assert len(refused) == shed
    assert inner.peak == 2


async def test_ready_may_tell_two_of_one_free_place() -> None:
    """It is no permit: one of them waits inside `call`, and nobody fails."""
    inner = Held()
    service = ConcurrencyLimitLayer(1).layer(inner)
    told = []

    async def drive(name: str) -> None:
        await service.ready()
        told.append(name)
        await anyio.sleep(1)
        await service.call(name)

    async with anyio.create_task_group() as group:
        for name in "ab":
            group.start_soon(drive, name)
        await anyio.sleep(2)
        assert sorted(told) == ["a", "b"]
        assert len(inner.active) == 1

        inner.finish(inner.active[0])
        await wait_all_tasks_blocked()
        inner.finish(inner.active[0])

    assert inner.peak == 1


async def test_drivers_that_were_ready_and_idle_starve_nobody() -> None:
    """With a limit of two, two idle drivers and a busy one, the busy one has both places."""
    permits = Permits(2)
    inner = Held()
    idle, other, busy = (ConcurrencyLimitLayer(permits).layer(inner) for _ in range(3))
    await idle.ready()
    await other.ready()

    async with anyio.create_task_group() as group:
        for number in range(2):

            async def call(number: int = number) -> None:
                await busy.call(number)

            group.start_soon(call)
        await wait_all_tasks_blocked()

        assert sorted(inner.active) == [0, 1]
        for number in range(2):
            inner.finish(number)


async def test_ready_can_be_cancelled_at_no_cost() -> None:
    """Who gave up waiting holds nothing and is not missed."""
    inner = Held()
    service = ConcurrencyLimitLayer(1).layer(inner)

    async with anyio.create_task_group() as group:

        async def call() -> None:
            await service.call("a")

        group.start_soon(call)
        await wait_all_tasks_blocked()
        for _ in range(3):
            with anyio.move_on_after(1) as gave_up:
                await service.ready()
            assert gave_up.cancelled_caught
        inner.finish("a")

    await service.ready()
    assert service.capacity() == 1
