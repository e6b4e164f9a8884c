"""
How many tasks a second through one SQLite file, beside other libraries?

All write a WAL with `synchronous=FULL`, which each contender's process
looks up. huey gives a task up when it takes it; the others acknowledge.
persist-queue and litequeue have no worker, so their loop is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.race import Contender, Place, race
from benchmarks.table import Table

LOOPS = ("",)  # the contenders choose theirs
ROUNDS = 5
TASKS = 3000
PEER, FLOOR = 1 / 8, 3.0
"""Times the time of huey, and of the floor, at most."""

IN_FORCE = "; {journal}, {synchronous}"
CONTENDERS = (
    Contender(
        "huey",
        "huey",
        ("huey", "sqlite", TASKS, 0),
        promise=f"at most once, no results{IN_FORCE}",
    ),
    Contender(
        "huey, results kept",
        "huey",
        ("huey", "sqlite", TASKS, 1),
        promise=f"at most once, results{IN_FORCE}",
    ),
    Contender(
        "persist-queue",
        "persist-queue",
        ("persist_queue", "sqlite", TASKS),
        promise=f"at least once, no results{IN_FORCE}",
    ),
    Contender(
        "litequeue",
        "litequeue",
        ("litequeue", "sqlite", TASKS),
        promise=f"acknowledged, no results{IN_FORCE}",
    ),
    *(
        Contender(
            f"layered, {loop}",
            "",
            ("ours", f"sqlite-{loop}", TASKS),
            "ours",
            f"at least once, results{IN_FORCE}",
        )
        for loop in ("asyncio", "trio")
    ),
    Contender(
        "by hand",
        "",
        ("ours", "sqlite-by-hand", TASKS),
        "floor",
        f"no leases, results{IN_FORCE}",
    ),
)


async def measure() -> list[Table]:
    """Compare pushes, and what becomes of the pushed."""
    places, missing = race(CONTENDERS, ROUNDS)
    return [
        _table("peers_sqlite_push", "In SQLite: push, a commit each", "push", places, missing),
        _table(
            "peers_sqlite",
            "In SQLite: process what was pushed, at most 100 at a time",
            "process",
            places,
            ["The target is against the faster huey, which keeps no results.", *missing],
        ),
    ]


def _table(
    name: str, title: str, figure: str, places: Sequence[Place], notes: Sequence[str]
) -> Table:
    hueys = [place.best[figure] for place in places if place.contender.peer == "huey"]
    huey = min(hueys, default=None)
    times = PEER if figure == "process" else None
    lines = [
        place.line(figure, huey, times) if place.contender.whose == "ours" else place.line(figure)
        for place in places
    ]
    return Table(name, title, lines, rates=True, notes=notes)
