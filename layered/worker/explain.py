"""`explain`: what a worker will do with a task, in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import starmap

import attrs

from layered.layers.retry import RetryLayer
from layered.layers.timeout import TimeoutLayer
from layered.service.layer import name_of
from layered.worker.plan import Plan


def explain(plan: Plan) -> str:
    """Describe a worker: queue, stack, parameters with their sources, attempts, limits."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    backend, settings = plan.backend, plan.settings
    yield f"worker {plan.name!r} on {backend!r}"
    yield f"  takes      {', '.join(plan.handler.names)} from queue {backend.queue!r}"
    yield f"  at once    {_concurrency(plan)}"
    yield f"  lease      {settings.lease:g} s, renewed every {settings.lease / 3:.3g} s"
    yield f"  limits     {_limits(plan)}"
    yield f"  attempts   {_attempts(plan)}"
    yield "  stack, outermost first:"
    stack = stack_of(plan)
    for depth, service in enumerate(stack):
        yield f"    {'  ' * depth}{service}"
    for injected in plan.handler.injected:
        yield f"    {'  ' * len(stack)}{injected.parameter} = {injected.source}"


def stack_of(plan: Plan) -> list[str]:
    """Name a worker's layers, outermost first, and the handler inside them."""
    return [*map(_shown, plan.layers), plan.handler.description]


def _shown(layer: object) -> str:
    """Show a layer as one would write it: what is left at its default is left out."""
    if isinstance(layer, partial):
        given = [*map(repr, layer.args), *(f"{key}={one!r}" for key, one in layer.keywords.items())]
        return f"{name_of(layer.func)}({', '.join(given)})"
    kind = type(layer)
    if attrs.has(kind):
        changed = [
            (field, value)
            for field in attrs.fields(kind)
            if field.repr and (value := getattr(layer, field.name)) != field.default
        ]
        return f"{kind.__name__}({', '.join(starmap(_field, changed))})"
    return repr(layer) if hasattr(layer, "layer") else name_of(layer)


def _field(field: attrs.Attribute[object], value: object) -> str:
    show = field.repr if callable(field.repr) else repr
    return f"{field.name}={show(value)}"


def _concurrency(plan: Plan) -> str:
    return f"up to {plan.concurrency} handlers, claimed up to {plan.settings.batch} at a time"


def _attempts(plan: Plan) -> str:
    lost = "a lost worker costs a run too, up to max_lost (3, or as pushed)"
    retry = next((layer for layer in plan.layers if isinstance(layer, RetryLayer)), None)
    if retry is None:
        return f"1, an error is final (no RetryLayer); {lost}"
    most = getattr(retry.stop, "max_attempt_number", None)
    runs = f"up to {most}" if most is not None else f"until {type(retry.stop).__name__}"
    return f"{runs}, or max_attempts as pushed if that is less; {lost}"


def _limits(plan: Plan) -> str:
    attempt = [f"{one.seconds:g} s" for one in plan.layers if isinstance(one, TimeoutLayer)]
    task = "none" if plan.deadline is None else f"{plan.deadline:g} s"
    return f"each attempt {min(attempt, default='none')}; a whole task {task}"
