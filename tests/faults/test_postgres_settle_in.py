"""Effects in the same PostgreSQL database, committed with the end of their task: exactly once."""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_postgres
from tests.faults.processes import Crew
from tests.faults.setting import LOOPS, TASKS, Setting, Unit
from tests.faults.store_postgres import PostgresStore
from tests.faults.test_settle_in import effects_that_differ
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, Work, broken, held, stop
from tests.servers.proxy import Link, Proxy

pytestmark = on_postgres

COUNT = TASKS if TASKS >= 10_000 else TASKS // 2
FATAL = {60: "settle_in, die inside", 160: "settle_in, die after"}
"""What every 250th task does: kills from inside, at the worst points."""
KILLS = max(5, COUNT // 200)
"""Kills from outside."""
ROUNDS = COUNT // 25
"""Of trouble with connections."""


def push(work: Work, tasks: int, *, deadly: bool) -> None:
    """Push so many tasks that settle themselves."""
    deeds = (FATAL.get(n % 250, "settle_in") if deadly else "settle_in" for n in range(tasks))
    seconds = (work.chance.uniform(0.0, 0.05) for _ in range(tasks))
    work.store.push(list(map(Unit, range(tasks), deeds, seconds)), max_lost=1000)


def settings(store: PostgresStore, **rest: str) -> Sequence[Setting]:
    """Make the settings of three workers."""
    numbers = SettingsChange(lease=1.0, concurrency=8)
    return [
        store.setting(loop=loop, numbers=numbers, tell=(), program="tests.faults.settling", **rest)
        for loop in (*LOOPS, "asyncio")
    ]


@pytest.mark.timeout(LIMIT + 30)
def test_settle_in_on_postgres_leaves_exactly_one_effect_for_each_task(
    store: PostgresStore, crew: Crew, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """Killed from outside and inside the transaction: effects and tasks done agree exactly."""
    kill_at = chance.sample(range(COUNT // 10, COUNT * 9 // 10), KILLS)
    work = Work(store, crew, chance)

    push(work, COUNT, deadly=True)
    seconds = work.do(settings(store), kill_at)
    stop(crew)

    died = work.died.total()
    assert effects_that_differ(store) == []
    assert broken(store, crew, extra=died * MAX_IN_FLIGHT) == []
    assert died >= KILLS
    report(
        "killed around settle_in",
        f"{held(store)}, effects in the store exactly {COUNT:,}, {died} workers died, "
        f"{seconds:.1f} s",
    )


@pytest.mark.timeout(LIMIT + 60)
def test_settle_in_on_postgres_leaves_one_effect_where_the_outcome_is_unknown(
    store: PostgresStore,
    crew: Crew,
    proxy: Proxy,
    chance: random.Random,
    report: Callable[[str, str], None],
) -> None:
    """Connections are cut at any moment of these transactions, before the answer included."""
    work = Work(store, crew, chance)

    def of_transactions(link: Link) -> bool:
        return link.application in {"", "layered effect"} and chance.random() < 0.5

    def cut_again_and_again() -> None:
        work.wait_until_running()
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0.0, 0.1))  # which moment: this is what chance decides
            match chance.choice(["now", "amid a message", "before an answer"]):
                case "now":
                    proxy.cut(of_transactions)
                case "amid a message":
                    proxy.cut_after(chance.randrange(1, 1000), of_transactions)
                case _:
                    proxy.lose_answers(chance.randrange(1, 20), of_transactions)
        proxy.lose_answers(0)

    push(work, COUNT, deadly=False)
    with ThreadPoolExecutor(1) as pool:
        trouble = pool.submit(cut_again_and_again)
        seconds = work.do(settings(store, dsn=proxy.dsn), until=trouble.done)
        trouble.result()
    stop(crew)

    assert effects_that_differ(store) == []
    assert (store.lost(), store.not_done_once(), store.damage()) == ([], [], [])
    assert proxy.lost > 0
    report(
        "connections cut around settle_in",
        f"{held(store)}, effects in the store exactly {COUNT:,}, {proxy.cuts} cuts, "
        f"{proxy.lost} of them between a commit and its answer, {seconds:.1f} s",
    )


@pytest.mark.timeout(90)
def test_the_check_finds_a_settle_on_postgres_that_is_apart_from_its_effect(
    store: PostgresStore, crew: Crew, chance: random.Random
) -> None:
    """In two transactions, a worker that dies between them leaves one effect too many."""
    work = Work(store, crew, chance)

    push(work, 61, deadly=True)
    work.do(settings(store, storage="SettledApart"))

    assert "task 60 is done, with 2 effects" in effects_that_differ(store)
