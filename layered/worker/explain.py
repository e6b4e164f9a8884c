"""`explain`: what a worker will do with a task, in words."""

from __future__ import annotations

from collections.abc import Iterator

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
    yield f"  lease      {settings.lease:g} s, renewed every {settings.lease / 3:g} s"
    yield f"  deadline   {_deadline(plan)}"
    yield f"  attempts   {_attempts(plan)}"
    yield "  stack, outermost first:"
    for depth, layer in enumerate(plan.layers):
        yield f"    {'  ' * depth}{_shown(layer)}"
    depth = len(plan.layers)
    yield f"    {'  ' * depth}{plan.handler.description}"
    for injected in plan.handler.injected:
        yield f"    {'  ' * (depth + 1)}{injected.parameter} = {injected.source}"


def _shown(layer: object) -> str:
    return repr(layer) if hasattr(layer, "layer") else name_of(layer)


def _concurrency(plan: Plan) -> str:
    return f"up to {plan.concurrency} handlers, claimed up to {plan.settings.batch} at a time"


def _deadline(plan: Plan) -> str:
    return "none" if plan.deadline is None else f"{plan.deadline:g} s for all attempts in one claim"


def _attempts(plan: Plan) -> str:
    retries = [layer for layer in plan.layers if hasattr(layer, "stop") and hasattr(layer, "wait")]
    if not retries:
        return "1; an error is final (no RetryLayer), a lost worker is not (max_lost)"
    return f"until {retries[0]!r} stops, or the task's own max_attempts"
