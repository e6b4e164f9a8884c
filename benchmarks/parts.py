"""
Which part of the stack takes how long, and what is a time limit made of?

A layer's line is the dispatch with three of it, less the dispatch without,
divided by three; what a time limit is made of is taken from a bare loop.
Together they are the profile of the stack (b) of `layers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter
from typing import Any

import anyio

from benchmarks import mail
from benchmarks.dispatch import Dispatch, handled
from benchmarks.layers import INSIDE, OUTSIDE
from benchmarks.rounds import Case, fastest
from benchmarks.table import Line, Table
from layered import service_fn
from layered.service.clock import loop_clock, scope_class

LOOPS = ("asyncio", "trio")
ROUNDS = 60
CALLS = 1000
MANY = 3


async def measure() -> list[Table]:
    """Measure the parts, in one run with the whole."""
    async with anyio.create_task_group() as crew:
        bare = service_fn(mail.never)
        whole = handled(mail.never_with_state, mail.State())
        layers = {
            type(layer).__name__: Dispatch(crew, bare, [layer] * MANY).round
            for layer in (*OUTSIDE, *INSIDE)
        }
        cases = {
            "bare": Dispatch(crew, bare).round,
            "compiled": Dispatch(crew, whole).round,
            "deadline": Dispatch(crew, bare, deadline=30.0).round,
            "whole": Dispatch(crew, whole, (*OUTSIDE, *INSIDE), deadline=30.0).round,
        }
        best = await fastest({**cases, **layers, **_pieces()}, ROUNDS)
        crew.cancel_scope.cancel()
    floor = best["bare"]
    lines = [
        Line("the whole of (b), handler never suspends", best["whole"]),
        Line("  dispatch of the bare handler", floor),
        Line("  compiled call with one value", best["compiled"] - floor),
        Line("  worker's deadline", best["deadline"] - floor),
        *(Line(f"  {name}", (best[name] - floor) / MANY) for name in layers),
        *(Line(f"    {name}", best[name] - best["a bare loop"]) for name in _pieces()),
    ]
    return [Table("parts", "Which part of the stack takes how long", lines)]


def _pieces() -> dict[str, Case]:
    clock, scope = loop_clock(), scope_class()
    late = clock() + 3600.0
    return {
        "a bare loop": _repeated(nullcontext),
        "reading the clock": _repeated(lambda: nullcontext(clock())),
        "a cancel scope": _repeated(scope),
        "a cancel scope with a deadline": _repeated(lambda: scope(deadline=late)),
    }


def _repeated(make: Callable[[], Any]) -> Case:
    async def many() -> float:
        start = perf_counter()
        for _ in range(CALLS):
            with make():
                pass
        return (perf_counter() - start) / CALLS

    return many
