"""
`TimeoutLayer`: a time limit for each call.

It limits what is inside it: put it inside a `RetryLayer` to limit each
attempt, and inside a concurrency limit, so that waiting for a turn does
not count. The limit for a whole task is the worker's (`WorkerBuilder.deadline`).
"""

from __future__ import annotations

import math

# Underscored but documented for event loops, and the only cheap question: `None` under trio.
from asyncio import _get_running_loop
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import attrs

from layered.errors import BuildError, LayeredError
from layered.service import Middleware, Service
from layered.service.clock import loop_clock, scope_class

Req = TypeVar("Req")
Res = TypeVar("Res")


class Elapsed(LayeredError, TimeoutError):
    """
    A call took longer than its `TimeoutLayer` allows, and was cancelled.

    Args:
        seconds: The limit.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        """Name the limit."""
        return f"call took longer than its limit of {self.seconds:g} s"


class Timeout(Middleware[Req, Res]):
    """
    Cancels a call that takes too long; made by `TimeoutLayer`.

    Only the time inside `call` counts, never a wait in `ready`.
    """

    __slots__ = ("_bound_to", "_clock", "_scope", "seconds")

    def __init__(self, seconds: float, inner: Service[Req, Res], /) -> None:
        super().__init__(inner)
        self.seconds = seconds
        self._bound_to: object = self  # no event loop yet
        self._clock: Callable[[], float]
        self._scope: type[anyio.CancelScope]

    async def call(self, request: Req, /) -> Res:
        """
        Call the inner service under a cancel scope of its own.

        A call that ends by itself, however late, keeps its value or error.

        Raises:
            Elapsed: if the scope's deadline ended the call.

        Cancellation:
            From outside passes through; an inner scope's is its own affair.
        """
        if _get_running_loop() is not self._bound_to:
            self._bind()
        with self._scope(deadline=self._clock() + self.seconds):
            return await self.inner.call(request)
        raise Elapsed(self.seconds)  # the scope caught its own cancellation

    def _bind(self) -> None:
        # Under trio the key is `None` whatever the run, and so are clock and class the same.
        self._bound_to = _get_running_loop()
        self._clock, self._scope = loop_clock(), scope_class()

    def __repr__(self) -> str:
        """Show limit and inner service."""
        return f"Timeout({self.seconds:g}, {self.inner!r})"


def _seconds(limit: float | timedelta) -> float:
    seconds: Any = limit.total_seconds() if isinstance(limit, timedelta) else limit
    if not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
        problem = f"the limit must be more than 0 seconds and finite, got {limit!r}"
        raise BuildError("TimeoutLayer", [problem])
    return float(seconds)


@attrs.frozen
class TimeoutLayer:
    """
    Limit the time of each call; what takes longer is cancelled and raises `Elapsed`.

    Args:
        seconds: The limit, or a `timedelta`; more than 0.

    Raises:
        BuildError: if *seconds* is not more than 0, or not finite.

    Source: tower ``TimeoutLayer``, ``Elapsed``.
    """

    seconds: float = attrs.field(converter=_seconds)

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put a `Timeout` around *inner*."""
        return Timeout(self.seconds, inner)
