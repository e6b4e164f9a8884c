"""
What does the depth of the stack cost?

Middlewares that do nothing, 0 to 6 of them, around a handler in the
worker's own dispatch: no store, as in `layers.py`.
"""

from __future__ import annotations

import anyio

from benchmarks import mail
from benchmarks.dispatch import Dispatch
from benchmarks.rounds import fastest
from benchmarks.table import Line, Table
from layered import service_fn

LOOPS = ("asyncio", "trio")
ROUNDS = 60
DEPTHS = (0, 1, 2, 3, 6)
GOAL = 0.3e-6
"""Seconds for one middleware."""


async def measure() -> list[Table]:
    """Compare stacks of several depths."""
    handlers = {"never": service_fn(mail.never), "once": service_fn(mail.once)}
    async with anyio.create_task_group() as crew:
        cases = {
            f"{suspends} {depth}": Dispatch(crew, bare, [mail.Nothing] * depth).round
            for suspends, bare in handlers.items()
            for depth in DEPTHS
        }
        best = await fastest(cases, ROUNDS)
        crew.cancel_scope.cancel()
    lines = []
    for suspends in handlers:
        bare, *deeper = (best[f"{suspends} {depth}"] for depth in DEPTHS)
        lines.append(Line(f"no middleware, handler suspends {suspends}", bare))
        lines += [
            Line(f"  {depth} middleware{'s' * (depth > 1)}", seconds, bare)
            for depth, seconds in zip(DEPTHS[1:], deeper, strict=True)
        ]
        lines.append(Line("  one of six", (deeper[-1] - bare) / DEPTHS[-1], most=GOAL))
    return [Table("depth", "A task, by the number of middlewares around its handler", lines)]
