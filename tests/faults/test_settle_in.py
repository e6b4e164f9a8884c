"""Effects in the same SQLite file, committed with the end of their task: exactly once."""

import random
import signal
from collections.abc import Callable, Sequence

import attrs
import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import LOOPS, PLAIN_STORAGE, Unit
from tests.faults.store import Store

TASKS = 500
FATAL = {30: "settle_in, die inside", 80: "settle_in, die after"}
"""What every hundredth task does: kills from inside, at the worst points."""
KILLS = 6
"""Kills from outside."""


@attrs.define
class Work:
    """
    Tasks that settle themselves, and workers for them.

    Args:
        store: Where the tasks are.
        crew: Takes the processes.
        chance: Decides whom to kill.
        storage: The workers' storage.
    """

    store: Store
    crew: Crew
    chance: random.Random
    storage: str = PLAIN_STORAGE
    running: list[WorkerProcess] = attrs.field(factory=list)

    def do(self, tasks: int, kill_at: Sequence[int]) -> int:
        """Do *tasks* tasks; kill a worker when so many are done; answer how many workers died."""
        seconds = (self.chance.uniform(0.0, 0.05) for _ in range(tasks))
        deeds = (FATAL.get(n % 100, "settle_in") for n in range(tasks))
        self.store.push(list(map(Unit, range(tasks), deeds, seconds)), max_lost=1000)
        for loop in LOOPS * 2:
            numbers = SettingsChange(lease=0.5, concurrency=4)
            setting = self.store.setting(loop=loop, storage=self.storage, numbers=numbers, tell=())
            self.running.append(self.crew.start(setting))
        left = sorted(kill_at)

        def ended() -> bool:
            if left and self.store.states()["done"] >= left[0] and self._kill():
                del left[0]
            self._replace()
            return self.store.live() == 0

        wait_until(ended, 60.0, "all tasks ended")
        return len(self.crew.processes) - len(self.running)

    def _kill(self) -> bool:
        holding = [one for one in self.running if one.alive and self.store.held_by(one.pid)]
        if holding:
            self.chance.choice(holding).kill()
        return bool(holding)

    def _replace(self) -> None:
        for at, process in enumerate(self.running):
            if not process.alive:
                assert process.wait(1.0) == -signal.SIGKILL
                self.running[at] = self.crew.start(process.setting)


def effects_that_differ(store: Store) -> list[str]:
    """Name every task that is done without exactly one effect, or has one without being done."""
    effects = dict(store.query("SELECT number, count(*) FROM effect GROUP BY number"))
    states = {number: store.row(number).state for number in store.numbers}
    return [
        f"task {number} is {states.get(number)}, with {effects.get(number, 0)} effects"
        for number in sorted(states.keys() | effects.keys())
        if effects.get(number, 0) != (states.get(number) == "done")
    ]


@pytest.mark.timeout(90)
def test_settle_in_leaves_exactly_one_effect_for_each_task_although_workers_are_killed(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str], None]
) -> None:
    """Killed from outside and inside the transaction: effects and tasks done agree exactly."""
    kill_at = chance.sample(range(TASKS // 10, TASKS * 9 // 10), KILLS)

    died = Work(store, crew, chance).do(TASKS, kill_at)

    extra = store.runs().total() - TASKS
    report(f"{TASKS} tasks, {died} workers died, {store.reaped()} reaped, {extra} extra runs")
    assert effects_that_differ(store) == []
    assert store.not_done_once() == []
    assert died >= KILLS
    assert extra >= TASKS // 100  # those that died inside, at the least
    assert store.integrity() == [("ok",)]


@pytest.mark.timeout(90)
def test_the_check_finds_a_settle_that_is_apart_from_its_effect(
    store: Store, crew: Crew, chance: random.Random
) -> None:
    """In two transactions, a worker that dies between them leaves one without the other."""
    Work(store, crew, chance, "tests.mutants.sqlite_storages:SettledApart").do(50, kill_at=[])

    assert "task 30 is done, with 0 effects" in effects_that_differ(store)
