"""The questions about PostgreSQL, on a few tasks, and what their tables compare."""

from contextlib import nullcontext
from functools import partial

import psycopg
import pytest

from benchmarks import peers_postgres, postgres_backlog
from benchmarks.peers.ours_postgres import CASES
from benchmarks.peers.race import Contender, Place, race
from benchmarks.postgres_server import database, in_force
from benchmarks.table import Line, Whose


def ask(dsn: str, question: str) -> list[tuple[object, ...]]:
    """Answer the rows of *question*."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(question.encode()).fetchall()


@pytest.mark.parametrize("case", [name for name in CASES if name.endswith("rates")])
def test_each_way_of_ours_and_of_the_floors_processes_all(postgres: str, case: str) -> None:
    """It ends, so every task was handled, with a figure for each step."""
    with database(postgres) as dsn:
        figures = CASES[case](5, 30, 10, dsn)

    assert figures.keys() == {"push", "bulk", "process", "processor"}


@pytest.mark.parametrize("case", ["asyncio-notify-latency", "trio-notify-latency", "fair-latency"])
def test_each_way_of_ours_and_of_the_floor_hears_of_a_push(postgres: str, case: str) -> None:
    """It ends, so every push led to a run."""
    with database(postgres) as dsn:
        figures = CASES[case](5, 3, dsn)

    assert figures.keys() == {"p50", "p99"}


def test_the_fair_floor_keeps_what_ours_keeps(postgres: str) -> None:
    """Behind its worker, each end and each result is written, as ours does."""
    with database(postgres) as dsn:
        CASES["fair-rates"](5, 30, 10, dsn)
        floor = ask(dsn, "SELECT state, result, attempt, count(*) FROM task GROUP BY 1, 2, 3")
    with database(postgres) as dsn:
        CASES["asyncio-rates"](5, 30, 10, dsn)
        ours = ask(
            dsn, "SELECT state, result, attempt, count(*) FROM layered.task GROUP BY 1, 2, 3"
        )

    assert floor == ours == [(5, b'"sent"', 1, 30)]


def test_the_plain_floor_keeps_nothing(postgres: str) -> None:
    """What has ended is gone."""
    with database(postgres) as dsn:
        CASES["plain-rates"](5, 30, 10, dsn)

        assert ask(dsn, "SELECT count(*) FROM task") == [(0,)]


def test_race_gives_each_process_a_database_of_its_own(postgres: str) -> None:
    """A second round on the same tables would fail; nothing is left behind."""
    names = "SELECT datname FROM pg_database WHERE datname LIKE 'bench%'"
    before = ask(postgres, names)
    floor = Contender("floor", "", ("ours_postgres", "fair-rates", 5, 10, 5), "floor")

    (place,), missing = race([floor], 2, partial(database, postgres))

    assert missing == []
    assert {figure: len(rounds) for figure, rounds in place.rounds.items()} == {
        "push": 2,
        "bulk": 2,
        "process": 2,
        "processor": 2,
    }
    assert ask(postgres, names) == before


def test_in_force_tells_what_the_server_promises(postgres: str) -> None:
    """Whoever reads a figure knows what a commit meant."""
    ((fsync,),) = ask(postgres, "SHOW fsync")

    assert f"fsync {fsync}, synchronous_commit on" in in_force(postgres)


def place(who: str, batch: int, whose: Whose, seconds: float, *figures: str) -> Place:
    """Make what came of one, whose rounds took half the time, that time and four times."""
    rounds = [seconds / 2, seconds, seconds * 4]
    peer = who if whose == "peer" else ""
    contender = Contender(f"{who}, {batch} at a time", peer, (), whose)
    return Place(contender, dict.fromkeys(figures, rounds), {})


def told(lines: list[Line]) -> list[tuple[str, float | None, float | None, bool | None]]:
    """Tell what lines compare."""
    return [(line.what, line.floor, line.times, line.held) for line in lines]


def test_a_line_of_the_median_has_the_rounds_beside_it() -> None:
    """One round that was too fast, or too slow, is no result."""
    line = place("ours", 100, "ours", 8.0, "push").middle_line("push", 4.0, 2.0)

    assert (line.seconds, line.spread, line.held) == (8.0, (4.0, 32.0), True)


def test_works_compares_with_the_same_batch() -> None:
    """Ours is held against who took as many at a time; others against nobody."""
    few, many = (place("pgqueuer", batch, "peer", 3e3 / batch, "work") for batch in (100, 200))
    ours = [place("ours", batch, "ours", 20.0, "work") for batch in (100, 200)]

    lines = peers_postgres._works("work", [few, *ours, many], [few, many], {100: 2 / 3, 200: 1 / 2})

    assert told(lines) == [
        ("pgqueuer, 100 at a time", None, None, None),
        ("ours, 100 at a time", 30.0, 2 / 3, True),
        ("ours, 200 at a time", 15.0, 1 / 2, False),
        ("pgqueuer, 200 at a time", None, None, None),
    ]


def test_works_compares_with_nobody_where_the_other_is_missing() -> None:
    """A peer that cannot be installed leaves our figures, without a ratio."""
    ours = [place("ours", 100, "ours", 20.0, "process")]

    assert told(peers_postgres._works("process", ours, [], {100: 1.0})) == [
        ("ours, 100 at a time", None, 1.0, None)
    ]


def test_pushes_compares_each_once_with_the_fastest_peer() -> None:
    """A push knows no batch: the rounds of all count. Who has no push of many is left out."""
    places = [
        place("slow", 100, "peer", 9.0, "bulk"),
        place("fast", 100, "peer", 4.0, "bulk"),
        place("without", 100, "peer", 1.0, "push"),
        place("ours", 100, "ours", 6.0, "bulk"),
        place("fast", 200, "peer", 6.0, "bulk"),
    ]

    lines = peers_postgres._pushes("bulk", places, 1.2)

    assert told(lines) == [
        ("slow", None, None, None),
        ("fast", None, None, None),
        ("ours", 5.0, 1.2, True),
    ]
    assert lines[1].spread == (2.0, 24.0)


async def test_claims_are_timed_among_a_backlog(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each size of each backlog has its percentiles; the larger ones are held against the least."""
    monkeypatch.setattr(postgres_backlog, "server", partial(nullcontext, postgres))
    monkeypatch.setattr(postgres_backlog, "SIZES", (400, 800))
    monkeypatch.setattr(postgres_backlog, "SAMPLES", 2)

    (table,) = await postgres_backlog.measure()

    assert [line.what for line in table.lines if line.floor] == [
        f"{kind}, 800 tasks, {name}" for kind in ("all due", "mixed") for name in ("p50", "p99")
    ]
    assert len(table.lines) == 8
