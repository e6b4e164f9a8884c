"""
How many tasks a second in memory, pushed one by one and then processed, beside other libraries?

Each library does what it does for this: huey and dramatiq have threads and
so plain functions, taskiq's broker for tests runs each task where it was
pushed. The target is a multiple of the fastest of them.
"""

from __future__ import annotations

from benchmarks.peers.race import Contender, race
from benchmarks.table import Line, Table

LOOPS = ("",)  # the contenders choose theirs
ROUNDS = 5
TASKS = 20_000
GOALS = {100: 1 / 4, 10: 1 / 2.5}
"""Of the fastest peer's time, at most, by concurrency."""

CONTENDERS = (
    Contender("huey, 1 thread", "huey", ("huey", "memory", TASKS, 1), promise="at most once"),
    Contender("huey, 8 threads", "huey", ("huey", "memory", TASKS, 8), promise="at most once"),
    Contender(
        "taskiq, 100 at a time",
        "taskiq",
        ("taskiq", "memory", TASKS, 100),
        promise="no queue; 100 results kept",
    ),
    Contender(
        "taskiq, 10 at a time",
        "taskiq",
        ("taskiq", "memory", TASKS, 10),
        promise="no queue; 100 results kept",
    ),
    Contender(
        "taskiq, in place",
        "taskiq",
        ("taskiq", "inplace", TASKS),
        promise="no queue; 100 results kept",
    ),
    Contender(
        "dramatiq, 8 threads",
        "dramatiq",
        ("dramatiq", "memory", TASKS, 8),
        promise="acknowledged after the run; no results",
    ),
    *(
        Contender(
            f"layered, {loop}, concurrency {most}",
            "",
            ("ours", f"memory-{loop}", TASKS, most),
            "ours",
            "settled after the run; 10,000 results kept",
        )
        for most in GOALS
        for loop in ("asyncio", "trio")
    ),
    Contender(
        "by hand, asyncio, concurrency 100",
        "",
        ("ours", "memory-by-hand", TASKS, 100),
        "floor",
        "all results kept",
    ),
)


async def measure() -> list[Table]:
    """Compare."""
    places, missing = race(CONTENDERS, ROUNDS)
    fastest = min(
        (place.best["total"] for place in places if place.contender.whose == "peer"), default=None
    )
    lines: list[Line] = []
    for place in places:
        if place.contender.whose == "ours":
            *_, most = place.contender.case
            lines.append(place.line("total", fastest, GOALS[int(str(most))]))
        else:
            lines.append(place.line("total"))
    title = "In memory: push one by one, then process"
    notes = ["Targets are against the fastest peer.", *missing]
    return [Table("peers_memory", title, lines, rates=True, notes=notes)]
