"""What every shipped layer keeps; a new layer is one line in `LAYERS`."""

from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider

from layered import (
    Abort,
    CatchLayer,
    ConcurrencyLimitLayer,
    Identity,
    Permits,
    RetryAfter,
    RetryLayer,
    Service,
    Stack,
    TimeoutLayer,
    TracingLayer,
    map_error,
    map_response,
    service_fn,
)
from layered.testing import LayerSubject, layer_rules
from tests.layers.inner import Scripted, claimed

pytestmark = pytest.mark.virtual_time

LAYERS: dict[str, LayerSubject] = {
    "Identity": LayerSubject(Identity()),
    "Stack": LayerSubject(Stack(TracingLayer(), ConcurrencyLimitLayer(3), TimeoutLayer(5))),
    "map_error": LayerSubject(map_error(lambda error: error)),
    "map_response": LayerSubject(map_response(lambda response: response)),
    "CatchLayer of KeyError": LayerSubject(CatchLayer(KeyError)),
    "CatchLayer of all": LayerSubject(CatchLayer(), error=lambda: Abort("no")),
    "ConcurrencyLimitLayer of 1": LayerSubject(ConcurrencyLimitLayer(1)),
    "ConcurrencyLimitLayer of 3": LayerSubject(ConcurrencyLimitLayer(3)),
    "ConcurrencyLimitLayer shared": LayerSubject(make=lambda: ConcurrencyLimitLayer(Permits(2))),
    "RetryLayer of one run": LayerSubject(RetryLayer(1)),
    "RetryLayer of three runs": LayerSubject(RetryLayer(3, hold=60)),
    "RetryLayer": LayerSubject(RetryLayer(), error=lambda: Abort("no")),
    "TimeoutLayer": LayerSubject(TimeoutLayer(5)),
    "TracingLayer": LayerSubject(TracingLayer()),
    "TracingLayer, on": LayerSubject(TracingLayer(tracer_provider=TracerProvider())),
}


@pytest.mark.parametrize("layer", LAYERS)
async def test_a_layer_keeps_the_rules_of_layers(layer: str) -> None:
    """Each rule of the suite that strangers run as well."""
    for rule in layer_rules:
        await rule.check(LAYERS[layer])


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


@pytest.mark.parametrize("layer", LAYERS)
def test_a_service_has_slots(layer: str) -> None:
    """One is made for each worker, but a typing error in an attribute is found."""
    service = LAYERS[layer].wrap(service_fn(Scripted().call))

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
