"""The layer suite, and how a rule gets into it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps

import anyio

from layered.testing.conformance.layer.subject import LayerSubject
from layered.testing.conformance.layer.trial import Trial
from layered.testing.conformance.rule import Suite

layer_rules: Suite[LayerSubject] = Suite("layer", virtual=True)
"""The rules that every layer keeps; iterate over them to make each a test of its own."""


def rule(function: Callable[[Trial], Awaitable[None]], /) -> Callable[[Trial], Awaitable[None]]:
    """Put *function* into the suite, to be tried with each kind of request."""

    @wraps(function)
    async def check(subject: LayerSubject) -> None:
        for request in subject.requests:
            async with _trial(subject, request) as trial:
                await function(trial)

    layer_rules.rule(check)
    return function


@asynccontextmanager
async def _trial(subject: LayerSubject, request: Callable[[], object]) -> AsyncIterator[Trial]:
    async with anyio.create_task_group() as group:
        yield Trial(subject, request, group)
        group.cancel_scope.cancel()
