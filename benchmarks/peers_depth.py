"""
What does a middleware that does nothing cost, beside other libraries?

A task pushed in memory and processed, with thirty of them and with none; the
difference, divided by thirty. Middlewares of the peers are hooks before and
after a task; ours wrap it. `depth.py` has ours without store and worker.
"""

from __future__ import annotations

from benchmarks.peers.race import Contender, race
from benchmarks.table import Line, Table, Whose

LOOPS = ("",)  # the contenders choose theirs
ROUNDS = 6
TASKS = 10_000
MANY = 30
"""More than anybody has, to stand out of the noise."""

CASES: tuple[tuple[str, str, tuple[object, ...], Whose], ...] = (
    ("taskiq", "taskiq", ("taskiq", "memory", TASKS, 100), "peer"),
    ("dramatiq", "dramatiq", ("dramatiq", "memory", TASKS, 8), "peer"),
    ("layered, asyncio", "", ("ours", "memory-asyncio", TASKS, 100), "ours"),
    ("layered, trio", "", ("ours", "memory-trio", TASKS, 100), "ours"),
)
CONTENDERS = [
    Contender(f"{what}, {depth}", peer, (*case, depth), whose)
    for what, peer, case, whose in CASES
    for depth in (0, MANY)
]


async def measure() -> list[Table]:
    """Compare stacks of none and of thirty."""
    places, missing = race(CONTENDERS, ROUNDS)
    best = {place.contender.what: place.best["total"] for place in places}
    lines = [
        Line(what, (best[f"{what}, {MANY}"] - best[f"{what}, 0"]) / MANY, whose=whose)
        for what, _, _, whose in CASES
        if f"{what}, {MANY}" in best and f"{what}, 0" in best
    ]
    notes = [f"From the difference of {MANY} middlewares and none.", *missing]
    return [Table("peers_depth", "One middleware that does nothing", lines, notes=notes)]
