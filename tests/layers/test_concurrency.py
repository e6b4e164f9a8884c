"""tower's cases for its concurrency limit (tower/tests/limit/concurrency.rs), and ours."""

from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from layered import BuildError, ConcurrencyLimitLayer, Permits, Service
from tests.layers.inner import Held, Scripted, Sleepy, run

pytestmark = pytest.mark.virtual_time


async def test_concurrency_limit_lets_so_many_calls_run_and_no_more() -> None:
    """Surplus calls wait inside `call`, and the capacity says so (upstream "basic")."""
    inner = Held()
    service = ConcurrencyLimitLayer(2).layer(inner)

    async with anyio.create_task_group() as group:
        for request in "abc":
            group.start_soon(run, service, request)
        await wait_all_tasks_blocked()

        assert len(inner.active) == 2
        assert service.capacity() == 0

        first = inner.active[0]
        inner.finish(first)
        await wait_all_tasks_blocked()

        assert len(inner.active) == 2
        for request in list(inner.active):
            inner.finish(request)

    assert inner.peak == 2
    assert service.capacity() == 2


async def test_concurrency_limit_readies_all_when_a_place_comes_free() -> None:
    """Nobody who asks whether there is a place is left asleep (upstream "multi_waiters")."""
    inner = Held()
    service = ConcurrencyLimitLayer(1).layer(inner)
    told: list[int] = []

    async def ask(number: int) -> None:
        await service.ready()
        told.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(run, service, "a")
        await wait_all_tasks_blocked()
        for number in range(3):
            group.start_soon(ask, number)
        await wait_all_tasks_blocked()
        assert told == []

        inner.finish("a")
        await wait_all_tasks_blocked()

        assert sorted(told) == [0, 1, 2]


async def test_concurrency_limit_gives_a_place_to_calls_before_those_who_only_ask() -> None:
    """A waiter inside `call` goes before one inside `ready`."""
    inner = Held()
    service = ConcurrencyLimitLayer(1).layer(inner)
    told: list[str] = []

    async def ask() -> None:
        await service.ready()
        told.append("ready")

    async with anyio.create_task_group() as group:
        group.start_soon(run, service, "a")
        await wait_all_tasks_blocked()
        group.start_soon(ask)
        await wait_all_tasks_blocked()
        group.start_soon(run, service, "b")
        await wait_all_tasks_blocked()

        inner.finish("a")
        await wait_all_tasks_blocked()

        assert inner.active == ["b"]
        assert told == []
        inner.finish("b")

    assert told == ["ready"]


async def test_concurrency_limit_holds_nothing_for_who_was_ready_and_never_calls() -> None:
    """`ready` reserves nothing (upstream "reserve_capacity_without_sending_request", reversed)."""
    service = ConcurrencyLimitLayer(1).layer(Scripted("fine"))

    await service.ready()
    await service.ready()

    assert service.capacity() == 1
    assert await service.call("x") == "fine"


async def test_concurrency_limit_frees_the_place_when_the_inner_service_fails() -> None:
    """Upstream "response_error_releases_capacity"; the error is the same object."""
    error = ValueError("failed")
    service = ConcurrencyLimitLayer(1).layer(Scripted(error, "fine"))

    with pytest.raises(ValueError, match="failed") as caught:
        await service.call("x")

    assert caught.value is error
    assert service.capacity() == 1
    assert await service.call("x") == "fine"


async def test_concurrency_limit_frees_the_place_when_the_call_is_cancelled() -> None:
    """Upstream "response_future_drop_releases_capacity"."""
    service = ConcurrencyLimitLayer(1).layer(Sleepy())

    with anyio.move_on_after(1) as scope:
        await service.call(60)

    assert scope.cancelled_caught
    assert service.capacity() == 1


async def test_concurrency_limit_frees_the_place_only_when_cleaning_up_has_ended() -> None:
    """A cancelled call holds its place until it is really over (linkerd2-proxy#751)."""

    class Cleaning(Service[str, None]):
        async def call(self, request: str, /) -> None:
            try:
                await anyio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(3)

    service = ConcurrencyLimitLayer(1).layer(Cleaning())

    async with anyio.create_task_group() as group:
        group.start_soon(run, service, "a")
        await anyio.sleep(1)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2)
            assert service.capacity() == 0

    assert service.capacity() == 1


async def test_concurrency_limit_readies_the_next_caller_when_one_is_cancelled() -> None:
    """A caller that gives up its turn does not hold up those behind it."""
    inner = Held()
    service = ConcurrencyLimitLayer(1).layer(inner)
    impatient = anyio.CancelScope()

    async def give_up() -> None:
        with impatient:
            await service.call("b")

    async with anyio.create_task_group() as group:
        group.start_soon(run, service, "a")
        await wait_all_tasks_blocked()
        group.start_soon(give_up)
        await wait_all_tasks_blocked()
        group.start_soon(run, service, "c")
        await wait_all_tasks_blocked()

        impatient.cancel()
        await wait_all_tasks_blocked()
        inner.finish("a")
        await wait_all_tasks_blocked()

        assert inner.active == ["c"]
        inner.finish("c")

    assert service.capacity() == 1


async def test_concurrency_limit_does_not_leak_places() -> None:
    """Upstream "doesnt_leak_permits": many calls of every ending leave all places free."""
    service = ConcurrencyLimitLayer(2).layer(Sleepy())

    async with anyio.create_task_group() as group:

        async def call(number: int) -> None:
            with anyio.move_on_after(number % 7):
                await service.call(number % 5)

        for number in range(100):
            group.start_soon(call, number)

    assert service.capacity() == 2


async def test_concurrency_limits_are_separate_when_made_of_one_layer() -> None:
    """A layer is configuration; each service has its own state."""
    layer = ConcurrencyLimitLayer(1)
    inner = Held()
    one, other = layer.layer(inner), layer.layer(inner)

    async with anyio.create_task_group() as group:
        group.start_soon(run, one, "a")
        await wait_all_tasks_blocked()

        assert (one.capacity(), other.capacity()) == (0, 1)
        inner.finish("a")


async def test_concurrency_limits_are_one_when_they_share_permits() -> None:
    """A state object passed in is shared by all services made with it."""
    permits = Permits(1)
    inner = Held()
    one = ConcurrencyLimitLayer(permits).layer(inner)
    other = ConcurrencyLimitLayer(permits).layer(inner)

    async with anyio.create_task_group() as group:
        group.start_soon(run, one, "a")
        await wait_all_tasks_blocked()
        group.start_soon(run, other, "b")
        await wait_all_tasks_blocked()

        assert inner.active == ["a"]
        assert (one.capacity(), other.capacity()) == (0, 0)
        inner.finish("a")
        await wait_all_tasks_blocked()
        assert inner.active == ["b"]
        inner.finish("b")


async def test_concurrency_limit_tells_the_inner_capacity_when_that_is_less() -> None:
    """The tightest limit is the stack's."""
    service = ConcurrencyLimitLayer(5).layer(ConcurrencyLimitLayer(2).layer(Sleepy()))

    assert service.capacity() == 2


async def test_concurrency_limit_is_ready_only_when_the_inner_service_is() -> None:
    """Both the own places and the inner service's are waited for."""
    inner = Held()
    tight = ConcurrencyLimitLayer(1).layer(inner)
    service = ConcurrencyLimitLayer(5).layer(tight)

    async with anyio.create_task_group() as group:
        group.start_soon(run, tight, "a")
        await wait_all_tasks_blocked()
        with anyio.move_on_after(1) as waited:
            await service.ready()
        assert waited.cancelled_caught

        inner.finish("a")
        await service.ready()


async def test_concurrency_limit_looks_again_when_its_place_went_meanwhile() -> None:
    """`ready` ends when both are free at once, not one after the other."""
    inner = Held()
    permits = Permits(1)
    tight = ConcurrencyLimitLayer(1).layer(inner)
    service = ConcurrencyLimitLayer(permits).layer(tight)
    ready = anyio.Event()

    async def ask() -> None:
        await service.ready()
        ready.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run, tight, "a")
        await wait_all_tasks_blocked()
        group.start_soon(ask)
        await wait_all_tasks_blocked()
        await permits.acquire()
        inner.finish("a")
        await wait_all_tasks_blocked()
        assert not ready.is_set()

        permits.release()
        await ready.wait()


@pytest.mark.parametrize("limit", [0, -1, "2"])
def test_concurrency_limit_layer_is_refused_when_nothing_could_run(limit: Any) -> None:
    """A limit is 1 or more."""
    with pytest.raises(BuildError, match=f"must be 1 or more, got {limit!r}"):
        ConcurrencyLimitLayer(limit)


def test_concurrency_limit_layer_tells_its_number() -> None:
    """Of a number as of shared permits."""
    assert ConcurrencyLimitLayer(3).most == 3
    assert ConcurrencyLimitLayer(Permits(4)).most == 4
