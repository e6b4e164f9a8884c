"""Interleaved rounds, of which the fastest counts."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from anyio.lowlevel import checkpoint

Case: TypeAlias = Callable[[], Awaitable[float]]
"""One round; answers seconds per task."""


async def fastest(cases: Mapping[str, Case], rounds: int) -> dict[str, float]:
    """
    Answer the fastest round of each case, in seconds per task.

    Noise only ever adds time, so the minimum is the figure that repeats.
    The cases take turns, so what disturbs the machine for a while disturbs
    them all. The garbage collector runs as it does in a worker; each round
    begins with nothing left over from the one before.

    Args:
        cases: By name.
        rounds: Of each case; 1 or more.
    """
    best = dict.fromkeys(cases, float("inf"))
    gc.freeze()  # what is loaded by now need not be looked at again and again
    try:
        for _ in range(rounds):
            for name, case in cases.items():
                gc.collect()
                await checkpoint()  # asyncio throws the last case's cancelled timers away
                best[name] = min(best[name], await case())
    finally:
        gc.unfreeze()
    return best
