from datetime import timedelta
from typing import Any

import anyio
import pytest

from layered import BuildError, Elapsed, LayeredError, Service, TimeoutLayer, service_fn
from layered.service.contract import Middleware
from layered.testing import virtual_backend
from tests.layers.inner import Sleepy

pytestmark = pytest.mark.virtual_time


async def test_timeout_answers_what_comes_in_time() -> None:
    """A call within the limit is untouched."""
    service = TimeoutLayer(5).layer(Sleepy())

    assert await service.call(4.9) == "slept 4.9"


async def test_timeout_raises_elapsed_at_the_limit() -> None:
    """What takes longer is cancelled at the limit, and the error carries it."""
    inner = Sleepy()
    service = TimeoutLayer(5).layer(inner)
    start = anyio.current_time()

    with pytest.raises(Elapsed, match=r"call took longer than its limit of 5 s") as caught:
        await service.call(60)

    assert anyio.current_time() - start == 5
    assert inner.cancelled == [60]
    assert caught.value.seconds == 5


def test_elapsed_is_a_timeout_error() -> None:
    """Code that knows nothing of layered catches it."""
    assert issubclass(Elapsed, TimeoutError)
    assert issubclass(Elapsed, LayeredError)


async def test_timeout_counts_for_each_call_anew() -> None:
    """The limit is for a call, not for the service."""
    service = TimeoutLayer(5).layer(Sleepy())

    assert [await service.call(3) for _ in range(3)] == ["slept 3"] * 3


async def test_timeout_raises_the_inner_limit_when_that_is_shorter() -> None:
    """Of two limits the one that passed is named."""
    service = TimeoutLayer(5).layer(TimeoutLayer(1).layer(Sleepy()))

    with pytest.raises(Elapsed) as caught:
        await service.call(60)

    assert caught.value.seconds == 1


async def test_timeout_raises_the_outer_limit_when_that_is_shorter() -> None:
    """An inner limit does not claim what the outer one has cancelled."""
    service = TimeoutLayer(1).layer(TimeoutLayer(5).layer(Sleepy()))

    with pytest.raises(Elapsed) as caught:
        await service.call(60)

    assert caught.value.seconds == 1


async def test_timeout_raises_one_of_two_equal_limits() -> None:
    """Limits that pass in the same instant end the call once."""
    service = TimeoutLayer(1).layer(TimeoutLayer(1).layer(Sleepy()))

    with pytest.raises(Elapsed):
        await service.call(60)

    assert await service.call(0.5) == "slept 0.5"


async def test_timeout_keeps_a_value_that_came_in_spite_of_the_limit() -> None:
    """Work that was done anyway is not thrown away."""

    async def stubborn(request: str) -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(10)
        return request

    service = TimeoutLayer(5).layer(service_fn(stubborn))

    assert await service.call("done") == "done"


async def test_timeout_keeps_an_error_that_came_in_spite_of_the_limit() -> None:
    """What went wrong in the cleaning up is not hidden."""
    error = ValueError("cleaning up failed")

    async def failing(request: str) -> str:
        try:
            await anyio.sleep(10)
        finally:
            raise error
        return request

    service = TimeoutLayer(5).layer(service_fn(failing))

    with pytest.raises(ValueError, match="cleaning up failed") as caught:
        await service.call("x")

    assert caught.value is error


async def test_timeout_passes_a_cancellation_from_outside() -> None:
    """A limit that has not passed says nothing; the service stays usable."""
    inner = Sleepy()
    service = TimeoutLayer(5).layer(inner)

    with anyio.move_on_after(2) as outer:
        await service.call(60)

    assert outer.cancelled_caught
    assert inner.cancelled == [60]
    assert await service.call(1) == "slept 1"


async def test_timeout_does_not_limit_ready() -> None:
    """Only the time inside the call counts."""

    class SlowlyReady(Middleware[float, str]):
        async def ready(self) -> None:
            await anyio.sleep(60)

        def capacity(self) -> int:
            return 7

    service = TimeoutLayer(5).layer(SlowlyReady(Sleepy()))
    start = anyio.current_time()

    await service.ready()

    assert anyio.current_time() - start == 60
    assert service.capacity() == 7


@pytest.mark.parametrize(
    "loops",
    [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio"), ("trio", "asyncio")],
    ids="-".join,
)
def test_timeout_follows_the_clock_of_the_loop_that_runs(loops: tuple[str, str]) -> None:
    """A stack may be used under one loop after another, whose clocks have nothing in common."""
    service: Service[float, str] = TimeoutLayer(5).layer(Sleepy())

    async def measure(wait: float) -> float:
        await anyio.sleep(wait)
        start = anyio.current_time()
        with pytest.raises(Elapsed):
            await service.call(60)
        return anyio.current_time() - start

    took = []
    for loop, wait in zip(loops, (1000, 0), strict=True):
        backend, options = virtual_backend(loop)
        took.append(anyio.run(measure, wait, backend=backend, backend_options=options))

    assert took == [5, 5]


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), timedelta(0), "1"])
def test_timeout_layer_is_refused_when_its_limit_is_no_limit(limit: Any) -> None:
    """A limit that cannot be kept, or is none, is a mistake."""
    with pytest.raises(BuildError, match="more than 0 seconds and finite, got"):
        TimeoutLayer(limit)


def test_timeout_layer_takes_a_timedelta() -> None:
    """Durations may be written as such."""
    assert TimeoutLayer(timedelta(minutes=1)) == TimeoutLayer(60)
