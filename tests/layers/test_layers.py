"""What every shipped layer keeps; a new layer is one line in `LAYERS`."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider

from layered import (
    Abort,
    CatchLayer,
    ConcurrencyLimitLayer,
    Layer,
    Outcome,
    RetryAfter,
    RetryLayer,
    Service,
    Snooze,
    Task,
    TimeoutLayer,
    TracingLayer,
    service_fn,
)
from layered.service.contract import Middleware
from tests.layers.inner import Scripted, claimed, pushed

pytestmark = pytest.mark.virtual_time

LAYERS: dict[str, Any] = {
    "CatchLayer": CatchLayer(KeyError),
    "ConcurrencyLimitLayer": ConcurrencyLimitLayer(2),
    "RetryLayer": RetryLayer(1),
    "TimeoutLayer": TimeoutLayer(5),
    "TracingLayer": TracingLayer(),
    "TracingLayer, on": TracingLayer(tracer_provider=TracerProvider()),
}
REQUESTS: dict[str, Callable[[], Task[str]]] = {"run": claimed, "push": pushed}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    """Give each shipped layer."""
    found: Layer = LAYERS[request.param]
    return found


@pytest.fixture(params=REQUESTS)
def task(request: pytest.FixtureRequest) -> Any:
    """Give a task as in a worker's stack, and as around a push."""
    return REQUESTS[request.param]()


async def test_a_layer_answers_what_the_inner_service_answers(layer: Layer, task: Any) -> None:
    """The same object."""
    value = object()

    assert await layer.layer(Scripted(value)).call(task) is value


async def test_a_layer_passes_the_request_as_the_same_object(layer: Layer, task: Any) -> None:
    """Only a layer made for it changes the request."""
    seen = []

    async def see(request: Any) -> None:
        seen.append(request)

    await layer.layer(service_fn(see)).call(task)

    assert seen[0] is task


async def test_a_layer_passes_an_error_as_the_same_object(layer: Layer, task: Any) -> None:
    """A caller can match it by class and identity."""
    error = ValueError("failed")

    with pytest.raises(ValueError, match="failed") as caught:
        await layer.layer(Scripted(error)).call(task)

    assert caught.value is error


@pytest.mark.parametrize("outcome", [Abort("no"), Snooze(5)], ids=repr)
async def test_a_layer_passes_an_outcome_as_the_same_object(
    layer: Layer, task: Any, outcome: Outcome
) -> None:
    """What the handler decided reaches the worker."""
    with pytest.raises(Outcome) as caught:
        await layer.layer(Scripted(outcome)).call(task)

    assert caught.value is outcome


async def test_a_layer_passes_cancellation_and_stays_usable(layer: Layer, task: Any) -> None:
    """Nothing is held by a call that was told to stop."""
    waits = [60.0]

    async def sleep(request: Any) -> str:
        await anyio.sleep(waits.pop() if waits else 0)
        return "fine"

    service: Service[Any, str] = layer.layer(service_fn(sleep))
    free = service.capacity()

    with anyio.move_on_after(1) as scope:
        await service.call(task)

    assert scope.cancelled_caught
    assert service.capacity() == free
    assert await service.call(task) == "fine"


async def test_a_layer_passes_readiness_and_the_inner_capacity_on(layer: Layer) -> None:
    """Back-pressure reaches the fetch."""

    class Busy(Middleware[Any, Any]):
        async def ready(self) -> None:
            await anyio.sleep(3)

        def capacity(self) -> int:
            return 1

    service = layer.layer(Busy(Scripted()))
    start = anyio.current_time()

    await service.ready()

    assert anyio.current_time() - start == 3
    assert service.capacity() == 1


def test_a_layer_makes_a_new_service_each_time(layer: Layer) -> None:
    """A layer is configuration; state belongs to the service."""
    inner = Scripted()

    assert layer.layer(inner) is not layer.layer(inner)


def test_a_layer_and_its_service_show_their_configuration() -> None:
    """A stack can print itself."""
    shown = {
        repr(CatchLayer(KeyError, OSError)): "CatchLayer(KeyError, OSError, into=Abort)",
        repr(CatchLayer(KeyError).layer(Scripted())): "Catch(KeyError, into=Abort, <",
        repr(ConcurrencyLimitLayer(2)): "ConcurrencyLimitLayer(limit=2)",
        repr(ConcurrencyLimitLayer(2).layer(Scripted())): (
            "ConcurrencyLimit(<Permits 2 of 2 free, 0 waiting>, <"
        ),
        repr(RetryLayer(2)): "RetryLayer(stop=stop_after_attempt(max_attempt_number=2), wait=",
        repr(RetryLayer(2).layer(Scripted())): "Retry(RetryLayer(stop=stop_after_attempt(",
        repr(TimeoutLayer(2.5)): "TimeoutLayer(seconds=2.5)",
        repr(TimeoutLayer(2.5).layer(Scripted())): "Timeout(2.5, <",
        repr(TracingLayer("link")): "TracingLayer(relation='link', tracer_provider=None)",
        repr(TracingLayer("link").layer(Scripted())): "Tracing('link', <",
    }

    assert [found for found, start in shown.items() if not found.startswith(start)] == []


def test_a_service_has_slots(layer: Layer) -> None:
    """One is made for each worker, but a typing error in an attribute is found."""
    service = layer.layer(Scripted())

    assert not hasattr(service, "__dict__")


async def test_a_stack_of_all_layers_retries_what_took_too_long() -> None:
    """Limits, retries and spans work together: two runs of 5 s each, then an answer."""
    inner = Scripted("fine")
    naps = [60.0, 60.0, 0.0]

    async def nap(request: Any) -> str:
        await anyio.sleep(naps.pop(0))
        answer: str = await inner.call(request)
        return answer

    service: Service[Any, str] = service_fn(nap)
    for layer in (
        TimeoutLayer(5),
        RetryLayer(3, hold=60),
        CatchLayer(),
        ConcurrencyLimitLayer(1),
        TracingLayer(),
    ):
        service = layer.layer(service)

    assert await service.call(claimed()) == "fine"
    assert inner.attempts == [3]


async def test_a_long_wait_of_a_retry_passes_a_catch_around_it() -> None:
    """What gives the task back to the store is no failure to be caught."""
    service = CatchLayer().layer(RetryLayer(3, hold=0).layer(Scripted(ValueError("failed"))))

    with pytest.raises(RetryAfter):
        await service.call(claimed())
