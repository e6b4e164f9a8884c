"""Effects in the same SQLite file, committed with the end of their task: exactly once."""

import random
from collections.abc import Callable, Sequence

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_sqlite
from tests.faults.processes import Crew
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store import Store
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, Work, broken, held, stop

pytestmark = on_sqlite

FATAL = {30: "settle_in, die inside", 80: "settle_in, die after"}
"""What every hundredth task does: kills from inside, at the worst points."""
KILLS = TASKS // 200
"""Kills from outside."""


def do(work: Work, tasks: int, kill_at: Sequence[int], storage: str = "") -> float:
    """Have so many tasks settle themselves; answer the seconds that it took."""
    seconds = (work.chance.uniform(0.0, 0.05) for _ in range(tasks))
    deeds = (FATAL.get(n % 100, "settle_in") for n in range(tasks))
    work.store.push(list(map(Unit, range(tasks), deeds, seconds)), max_lost=1000)
    numbers = SettingsChange(lease=0.5, concurrency=4)
    return work.do(
        [
            work.store.setting(loop=loop, storage=storage, numbers=numbers, tell=())
            for loop in LOOPS * 2
        ],
        kill_at,
    )


def effects_that_differ(store: Store) -> list[str]:
    """Name every task that is done without exactly one effect, or has one without being done."""
    effects = dict(store.query("SELECT number, count(*) FROM effect GROUP BY number"))
    states = {number: row.state for number, row in store.rows().items()}
    return [
        f"task {number} is {states.get(number)}, with {effects.get(number, 0)} effects"
        for number in sorted(states.keys() | effects.keys())
        if effects.get(number, 0) != (states.get(number) == "done")
    ]


@pytest.mark.timeout(LIMIT + 30)
def test_settle_in_leaves_exactly_one_effect_for_each_task_although_workers_are_killed(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """Killed from outside and inside the transaction: effects and tasks done agree exactly."""
    kill_at = chance.sample(range(TASKS // 10, TASKS * 9 // 10), KILLS)
    work = Work(store, crew, chance)

    seconds = do(work, TASKS, kill_at)
    stop(crew)

    died = work.died.total()
    extra = store.runs().total() - TASKS
    assert effects_that_differ(store) == []
    assert broken(store, crew, extra=died * MAX_IN_FLIGHT) == []
    assert died >= KILLS
    assert extra >= TASKS // 100  # those that died inside, at the least
    report(
        "killed around settle_in",
        f"{held(store)}, effects in the store exactly {TASKS:,}, {died} workers died, "
        f"{seconds:.1f} s",
    )


@pytest.mark.timeout(90)
def test_the_check_finds_a_settle_that_is_apart_from_its_effect(
    store: Store, crew: Crew, chance: random.Random
) -> None:
    """In two transactions, a worker that dies between them leaves one without the other."""
    storage = store.named("SettledApart")

    do(Work(store, crew, chance), 50, [], storage)

    assert "task 30 is done, with 0 effects" in effects_that_differ(store)
