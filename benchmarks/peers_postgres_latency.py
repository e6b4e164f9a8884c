"""
How long from the call of `push` to the start of the handler, in PostgreSQL, beside other libraries?

A push each 20 ms to a worker that has nothing else to do. Producer and
worker share a process and no connection; all wake the worker by NOTIFY.
"""

from __future__ import annotations

from functools import partial

import attrs

from benchmarks.peers.race import Contender, race
from benchmarks.postgres_server import database, in_force, server
from benchmarks.table import Line, Table

LOOPS = ("",)  # the contenders choose theirs
ROUNDS = 3
SAMPLES = 100
MOST = 100
"""Handlers at once, and tasks of a claim."""
GOAL = 1.5
"""Times the floor, at p50."""

CONTENDERS = (
    *(
        Contender(peer, peer, (peer, "latency", MOST, SAMPLES))
        for peer in ("pgqueuer", "procrastinate", "chancy", "saq")
    ),
    *(
        Contender(
            f"layered, {loop}",
            "",
            ("ours_postgres", f"{loop}-notify-latency", MOST, SAMPLES),
            "ours",
        )
        for loop in ("asyncio", "trio")
    ),
    Contender("by hand", "", ("ours_postgres", "fair-latency", MOST, SAMPLES), "floor"),
)


async def measure() -> list[Table]:
    """Compare the medians of the rounds."""
    with server() as running:
        places, missing = race(CONTENDERS, ROUNDS, partial(database, running))
        notes = [in_force(running), *missing]
    floor = {place.contender.whose: place.middle for place in places}.get("floor", {})
    lines: list[Line] = []
    for place in places:
        what = place.contender.what
        p50, p99 = place.middle_line("p50"), place.middle_line("p99")
        if place.contender.whose == "ours":
            p50, p99 = (
                place.middle_line("p50", floor.get("p50"), GOAL),
                place.middle_line("p99", floor.get("p99")),
            )
        lines += [
            attrs.evolve(p50, what=f"{what}, p50"),
            attrs.evolve(p99, what=f"{what}, p99", whose=""),
        ]
    title = "In PostgreSQL: from push to the start of the handler, 50 a second"
    return [Table("peers_postgres_latency", title, lines, notes=notes)]
