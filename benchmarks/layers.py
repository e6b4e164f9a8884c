"""
What do layers cost a task?

The floor is the bare handler through the worker's own dispatch: lease,
decode stub, task, service, settle list; no store and no layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from benchmarks import mail
from benchmarks.dispatch import CONCURRENCY, Dispatch, handled
from benchmarks.rounds import fastest
from benchmarks.table import Line, Table
from layered import (
    CatchLayer,
    ConcurrencyLimitLayer,
    RetryLayer,
    TimeoutLayer,
    TracingLayer,
    service_fn,
)
from layered.service import LayerLike

LOOPS = ("asyncio", "trio")
ROUNDS = 100

OUTSIDE: Sequence[LayerLike] = (
    TracingLayer(),
    ConcurrencyLimitLayer(CONCURRENCY),
    CatchLayer(),
    RetryLayer(3),
)
INSIDE: Sequence[LayerLike] = (TimeoutLayer(30.0),)


async def measure() -> list[Table]:
    """Compare handlers that never and that once suspend, with and without layers."""
    async with anyio.create_task_group() as crew:

        def stacked(handler: Callable[..., object], *more: LayerLike) -> Dispatch:
            return Dispatch(crew, handled(handler, mail.State()), (*OUTSIDE, *more), deadline=30.0)

        cases = {
            "never": Dispatch(crew, service_fn(mail.never)),
            "never a": stacked(mail.never_with_state),
            "never b": stacked(mail.never_with_state, *INSIDE),
            "once": Dispatch(crew, service_fn(mail.once)),
            "once a": stacked(mail.once_with_state),
            "once b": stacked(mail.once_with_state, *INSIDE),
        }
        best = await fastest({name: case.round for name, case in cases.items()}, ROUNDS)
        crew.cancel_scope.cancel()
    lines = []
    for suspends in ("never", "once"):
        floor = best[suspends]
        a, b = best[f"{suspends} a"], best[f"{suspends} b"]
        lines += [
            Line(f"bare handler, suspends {suspends}", floor),
            Line("  (a) tracing off, limit, catch, retry, data, deadline", a, floor, times=2.2),
            Line("  (b) the same with a timeout per attempt", b, floor, times=12),
        ]
    return [Table("layers", "A task, bare and with layers around its handler", lines)]
