from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest

from layered import (
    BuildError,
    ConcurrencyLimitLayer,
    Identity,
    Middleware,
    RetryLayer,
    Service,
    ServiceBuilder,
    Stack,
    Task,
    TracingLayer,
    layer_fn,
    service_fn,
)


class Named(Middleware[str, str]):
    """Puts its name around the request and the response, to show the order."""

    __slots__ = ("name",)

    def __init__(self, name: str, inner: Service[str, str], /) -> None:
        super().__init__(inner)
        self.name = name

    async def call(self, request: str, /) -> str:
        return f"{self.name}<{await self.inner.call(f'{request}>{self.name}')}"


async def echo(text: str) -> str:
    """Answer the request."""
    return text


def measure(text: str) -> int:
    """Answer the number of characters."""
    return len(text)


ECHO = service_fn(echo)
IN_ORDER = "outer<middle<inner<>outer>middle>inner"


async def test_service_builder_puts_the_first_layer_outermost() -> None:
    """As tower's does; the request goes from the first to the last, the response back."""
    service = (
        ServiceBuilder.of(str, str)
        .layer(partial(Named, "outer"))
        .layer(partial(Named, "middle"))
        .layer(partial(Named, "inner"))
        .service(ECHO)
    )

    assert await service.call("") == IN_ORDER


async def test_stack_puts_the_first_layer_outermost() -> None:
    """One order everywhere, also nested."""
    outer, middle, inner = (partial(Named, name) for name in ("outer", "middle", "inner"))

    assert await Stack(outer, middle, inner).layer(ECHO).call("") == IN_ORDER
    assert await Stack(Stack(outer, middle), inner).layer(ECHO).call("") == IN_ORDER
    assert await Stack(outer, Identity(), Stack(middle, inner)).layer(ECHO).call("") == IN_ORDER


async def test_service_builder_maps_from_outer_to_inner_types() -> None:
    """The request is changed on its way in, the response on its way out."""
    service = (
        ServiceBuilder.of(int, int)
        .map_request(lambda number: str(number + 1))
        .map_response(measure)
        .map_request(lambda text: f"{text}!")
        .service(ECHO)
    )

    assert await service.call(99) == 4


async def test_service_builder_takes_every_form_of_a_layer() -> None:
    """A layer, a class of middleware, a partial, a function, a `layer_fn`."""

    class Plain(Middleware[str, str]):
        pass

    def function(inner: Service[str, str]) -> Service[str, str]:
        return Named("function", inner)

    service = (
        ServiceBuilder.of(str, str)
        .layer(Identity())
        .layer(Plain)
        .layer(partial(Named, "partial"))
        .layer(lambda inner: Named("lambda", inner))
        .layer(function)
        .layer(layer_fn(function))
        .service(ECHO)
    )

    assert (await service.call("")).startswith("partial<lambda<function<function<")


def test_service_builder_answers_a_new_builder_each_time() -> None:
    """A builder can be a starting point for several stacks."""
    start = ServiceBuilder.of(str, str).layer(partial(Named, "shared"))

    first = start.layer(partial(Named, "first"))

    assert "first" in repr(first)
    assert "first" not in repr(start)


def test_service_builder_names_all_problems_at_once() -> None:
    """Each with its way out, also of layers outside a change of the request."""
    wrong: Any = [3, TracingLayer(), TracingLayer]
    builder = ServiceBuilder.of(str, str)
    for layer in wrong:
        builder = builder.layer(layer)
    builder = builder.layer(RetryLayer()).layer(RetryLayer())

    with pytest.raises(BuildError) as caught:
        builder.map_request(str).map_response(str).map_error(ValueError).service(ECHO)

    problems = caught.value.problems
    assert len(problems) == 5, problems
    assert problems[0].startswith("3 is no layer: it has no 'layer' method")
    assert "needs Task requests, got <class 'str'>" in problems[1]
    assert "TracingLayer is a layer's class; add an object" in problems[2]
    assert problems[4] == "the stack has 2 RetryLayers; keep one: their attempts would multiply"


def test_service_builder_lets_layers_of_tasks_around_tasks() -> None:
    """Also where the type of the arguments is given."""
    tasks: Any = ECHO

    ServiceBuilder.of(Task[str], str).layer(TracingLayer()).service(tasks)
    ServiceBuilder.of(Task, str).layer(TracingLayer()).service(tasks)


def test_service_builder_believes_a_map_request_about_its_type() -> None:
    """What a function makes is known to checkers only."""
    tasks: Any = ECHO
    make: Any = str

    ServiceBuilder.of(str, str).map_request(make).layer(TracingLayer()).service(tasks)


class NotAService:
    pass


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (None, "None is no layer"),
        ("timeout", "'timeout' is no layer"),
        (ConcurrencyLimitLayer, "ConcurrencyLimitLayer is a layer's class; add an object"),
        (NotAService, "is no layer; subclass layered.Middleware"),
        (lambda _: None, "which is no service; answer an object with 'call', 'ready'"),
        (lambda inner: inner.call, "which is no service"),
    ],
    ids=["None", "text", "layer's class", "other class", "nothing made", "method made"],
)
def test_stack_says_what_is_no_layer(layer: Any, problem: str) -> None:
    """And what to do instead."""
    with pytest.raises(BuildError, match="cannot build the stack") as caught:
        Stack(layer).layer(ECHO)

    assert problem in str(caught.value)


def test_stacks_show_their_layers() -> None:
    """Outermost first."""
    stack = Stack(Identity(), ConcurrencyLimitLayer(2), layer_fn(Named))  # type: ignore[arg-type]  # on purpose

    assert repr(stack) == "Stack(Identity(), ConcurrencyLimitLayer(limit=2), layer_fn(Named))"
    assert repr(ServiceBuilder.of(str, str).layer(Identity())) == "ServiceBuilder(Identity())"


async def test_a_service_may_answer_any_awaitable() -> None:
    """`call` need not be async itself."""

    class Passing(Middleware[str, str]):
        def call(self, request: str, /) -> Awaitable[str]:
            return self.inner.call(request)

    assert await Passing(ECHO).call("x") == "x"
