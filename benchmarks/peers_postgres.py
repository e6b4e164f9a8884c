"""
How many tasks a second through PostgreSQL, beside other libraries?

Each process has a database of its own on one durable server. It pushes some
tasks one by one and the others 500 at a time, in one transaction each, and
then starts a worker. Processing ends when that has stopped, with every end
written. `peers/served.py` times all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import attrs

from benchmarks.peers.race import Contender, Place, race
from benchmarks.postgres_server import database, in_force, server
from benchmarks.table import Line, Table, Whose

LOOPS = ("",)  # the contenders choose theirs
ROUNDS = 5
MANY = 20_000, 500
"""Tasks, and how many of them are pushed one by one; fewer for those that take long."""
PROCESS = {100: 1 / 1.5, 200: 1 / 2}
"""Times the time of pgqueuer with the same batch, at most."""
PROCESSOR = 2.5
"""Times that of a worker written by hand, with the same batch, at most."""
BULK = 1.2
"""Times the time of the fastest peer, at most: no more than the noise."""


def _contender(
    who: str, case: str, promise: str, batch: int = 100, load: tuple[int, int] = MANY
) -> Contender:
    """Make one who claims, and runs, so many at a time; *case* is a peer, or one of our script."""
    whose: Whose = "ours" if who.startswith("layered") else "floor" if "-" in case else "peer"
    peer, script = (case, (case, "rates")) if whose == "peer" else ("", ("ours_postgres", case))
    return Contender(f"{who}, {batch} at a time", peer, (*script, batch, *load), whose, promise)


CONTENDERS = (
    _contender("pgqueuer", "pgqueuer", "history, no results; not fenced"),
    _contender("pgqueuer", "pgqueuer", "history, no results; not fenced", batch=200),
    _contender(
        "procrastinate", "procrastinate", "history, no results; not fenced", load=(1000, 200)
    ),
    _contender("chancy", "chancy", "history, no results; fenced", load=(5000, 200)),
    _contender("saq", "saq", "results for 10 minutes; not fenced", load=(1000, 1000)),
    *(
        _contender(f"layered, {loop}", f"{loop}-rates", "results, history; fenced", batch)
        for batch in PROCESS
        for loop in ("asyncio", "trio")
    ),
    _contender("layered, NOTIFY", "asyncio-notify-rates", "results, history; fenced"),
    *(
        _contender("by hand", "fair-rates", "results, history; no fence", batch)
        for batch in PROCESS
    ),
    _contender("by hand, deleting", "plain-rates", "nothing kept; no fence", 200),
)


async def measure() -> list[Table]:
    """Compare pushes, and what becomes of the pushed."""
    with server() as running:
        places, missing = race(CONTENDERS, ROUNDS, partial(database, running))
        notes = [in_force(running), *missing]
    pgqueuer = [place for place in places if _who(place) == "pgqueuer"]
    by_hand = [place for place in places if _who(place) == "by hand"]
    return [
        attrs.evolve(table, title=f"In PostgreSQL: {table.title}", rates=True, notes=notes)
        for table in (
            Table("peers_postgres_push", "push, a commit each", _pushes("push", places)),
            Table(
                "peers_postgres_bulk",
                "push 500 in a commit",
                _pushes("bulk", places, BULK),
            ),
            Table(
                "peers_postgres",
                "process what was pushed",
                _works("process", places, pgqueuer, PROCESS),
            ),
            Table(
                "peers_postgres_processor",
                "the worker's time of a processor",
                _works("processor", places, by_hand, dict.fromkeys(PROCESS, PROCESSOR)),
            ),
        )
    ]


def _pushes(figure: str, places: Sequence[Place], times: float | None = None) -> list[Line]:
    """Compare with the fastest peer; a push knows no batch, so the rounds of all count."""
    rounds: dict[str, list[float]] = {}
    for place in places:
        rounds.setdefault(_who(place), []).extend(place.rounds.get(figure, ()))
    first = {_who(place): place.contender for place in reversed(places)}
    pushers = [
        Place(attrs.evolve(first[who], what=who), {figure: all_}, {})
        for who, all_ in rounds.items()
        if all_
    ]
    peers = [place.middle[figure] for place in pushers if place.contender.whose == "peer"]
    return [_line(place, figure, min(peers, default=None), times) for place in pushers]


def _works(
    figure: str, places: Sequence[Place], others: Sequence[Place], times: Mapping[int, float]
) -> list[Line]:
    """Compare with that of *others* who has the same batch."""
    beside = {_batch(other): other.middle[figure] for other in others}
    return [
        _line(place, figure, beside.get(_batch(place)), times[_batch(place)]) for place in places
    ]


def _line(place: Place, figure: str, beside: float | None, times: float | None) -> Line:
    """Make a line, beside something if it is ours."""
    if place.contender.whose == "ours":
        return place.middle_line(figure, beside, times)
    return place.middle_line(figure)


def _who(place: Place) -> str:
    return place.contender.what.rpartition(", ")[0]


def _batch(place: Place) -> int:
    return int(place.contender.what.rpartition(", ")[2].split()[0])
