"""Workers are killed again and again; nothing is lost, and nothing is done twice."""

import random
from collections.abc import Callable

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store import Store
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, Work, broken, held, stop

LEASE = 1.0
KILLS = TASKS // 100


@pytest.mark.timeout(LIMIT + 30)
def test_every_task_is_done_once_although_workers_are_killed(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """A worker that holds leases is killed about every hundred tasks: lost 0, done once each."""
    store.push([Unit(n, seconds=chance.uniform(0.0, 0.05)) for n in range(TASKS)], max_lost=1000)
    numbers = SettingsChange(lease=LEASE, concurrency=8)
    settings = [
        store.setting(loop=loop, numbers=numbers, tell=("TaskEnded",)) for loop in LOOPS * 2
    ]
    work = Work(store, crew, chance)
    kill_at = chance.sample(range(TASKS // 20, TASKS * 19 // 20), KILLS)

    seconds = work.do(settings, kill_at, deaths=KILLS)
    stop(crew)

    assert broken(store, crew, extra=KILLS * MAX_IN_FLIGHT) == []
    assert set(store.runs()) == set(store.numbers)
    report(
        "killed at random",
        f"{held(store)} (bound {KILLS * MAX_IN_FLIGHT:,}), {KILLS} workers killed, "
        f"{store.reaped()} reaped ({reaped_from_the_living(store, crew)} from the living), "
        f"{seconds:.1f} s",
    )


def reaped_from_the_living(store: Store, crew: Crew) -> int:
    """Count the reapings that hit a worker that nobody had killed: it was too slow to renew."""
    alive: list[WorkerProcess] = [one for one in crew.processes if one.wait(10.0) == 0]
    return sum(store.reaped_from(one.pid) for one in alive)


def test_the_check_finds_tasks_that_nobody_takes_from_a_lost_worker(
    store: Store, crew: Crew
) -> None:
    """Workers that do not reap leave the task of a lost worker running for ever."""
    store.push([Unit(0)])
    assert store.claim_for_nobody(1, lease=0.2) == 1
    storage = store.named("Reapless")
    crew.start(store.setting(storage=storage, numbers=SettingsChange(lease=0.2)))

    wait_until(lambda: bool(store.stuck()), 15.0, "a stuck task is found")

    (found,) = store.stuck()
    assert found == f"task {store.numbers[0]} is stuck with ghost/nowhere/0/0"
    assert f"task {store.numbers[0]} is stuck with ghost/nowhere/0/0" in broken(
        store, crew, extra=0
    )


def test_the_check_finds_tasks_that_are_lost_at_the_claim(store: Store, crew: Crew) -> None:
    """A store that forgets a task when it hands it out loses those of a killed worker."""
    store.push([Unit(n, "die always") for n in range(2)])
    crew.start(
        store.setting(
            storage=store.named("Popping"), numbers=SettingsChange(lease=0.2, concurrency=1)
        )
    ).wait(15.0)

    assert "task 0 is lost" in broken(store, crew, extra=0)
