"""Worker processes that get through everything, each replaced when it dies."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import TASKS, Setting
from tests.faults.store import Store

LIMIT = 60.0 + TASKS / 50
"""Seconds that a scenario may take."""
MAX_IN_FLIGHT = 64
"""What a worker of a concurrency below 32 has in flight at the most."""


@attrs.define
class Work:
    """
    Workers, kept at their number until all tasks have ended.

    Args:
        store: Where the tasks are.
        crew: Takes the processes.
        chance: Decides whom to kill.
        ways: How a worker may die: the statuses, negative for a signal.
        reaping: Whether one of them always lives long enough to reap.
    """

    store: Store
    crew: Crew
    chance: random.Random
    ways: frozenset[int] = frozenset({-signal.SIGKILL})
    reaping: bool = True
    running: list[WorkerProcess] = attrs.field(factory=list)
    died: Counter[int] = attrs.field(factory=Counter)

    def do(
        self,
        settings: Sequence[Setting],
        kill_at: Sequence[int] = (),
        deaths: int = 0,
        until: Callable[[], bool] = lambda: True,
    ) -> float:
        """
        Work until all tasks have ended.

        Args:
            settings: Of the processes that work at the same time.
            kill_at: When so many are done, kill a worker that holds leases.
            deaths: Go on until so many processes have died, too.
            until: Go on until this holds, too.

        Returns:
            The seconds that it took.
        """
        self.running = [self.crew.start(setting) for setting in settings]
        left = sorted(kill_at)

        def ended() -> bool:
            if left and self.store.done() >= left[0] and self._kill():
                del left[0]
            self._replace()
            stuck = self.store.stuck() if self.reaping else []
            assert stuck == [], stuck
            return until() and self.store.live() == 0 and self.died.total() >= deaths

        return wait_until(ended, LIMIT, f"all tasks ended and {deaths} workers died")

    def wait_until_running(self) -> None:
        """Wait, in another thread, until the first workers have all opened the store."""
        wait_until(
            lambda: (
                bool(self.running)
                and all(one.heard("StateChanged", "running") for one in self.running)
            ),
            LIMIT,
            "all workers run",
        )

    def _kill(self) -> bool:
        holding = [one for one in self.running if one.alive and self.store.held_by(one.pid)]
        if holding:
            self.chance.choice(holding).kill()  # and wait: one death for each
        return bool(holding)

    def _replace(self) -> None:
        for at, process in enumerate(self.running):
            if not process.alive:
                status = process.wait(1.0)
                assert status in self.ways, status
                self.died[status] += 1
                self.running[at] = self.crew.start(process.setting)


def stop(crew: Crew, limit: float = 10.0) -> None:
    """End all workers in order, also those that have only just been started."""
    for process in crew.alive():
        process.wait_for("StateChanged", "running")  # before that a signal just kills
    statuses = crew.terminate(limit)
    assert set(statuses) <= {0}, statuses


def told_more_than_once(crew: Crew) -> list[str]:
    """List the tasks whose end was told again: what a worker tells is durable, or it is a lie."""
    told = Counter(told.task for one in crew.processes for told in one.heard("TaskEnded", "done"))
    return [task for task, times in told.items() if times > 1]


def broken(store: Store, crew: Crew, *, extra: int, forgotten: int = 0) -> list[str]:
    """
    Name everything that must not be, whatever happened: the invariants of all scenarios.

    Args:
        store: When all is over.
        crew: Its workers.
        extra: Most runs beyond one for each task.
        forgotten: Most claims of one task that the store has forgotten.
    """
    rows = store.rows()
    dead = {
        f"task {number} is dead, by 0 writes" for number in rows if rows[number].state == "dead"
    }
    runs = store.runs().total() - len(store.numbers)
    return [
        *(f"task {number} is lost" for number in store.lost()),
        *(wrong for wrong in store.not_done_once() if wrong not in dead),
        *(f"task {number} ran too often" for number in store.run_too_often(forgotten)),
        *(f"the end of task {task} was told twice" for task in told_more_than_once(crew)),
        *([f"{runs} extra runs, at most {extra} are explained"] if runs > extra else []),
        *store.stuck(),
        *store.damage(),
    ]


def held(store: Store) -> str:
    """Say in figures what `broken` looked at."""
    writes = "SELECT count(*) AS writes FROM audit WHERE what = 'done' GROUP BY task"
    once = store.count(f"SELECT count(*) FROM ({writes}) AS counted WHERE writes = 1")  # noqa: S608 - above
    dead = store.states()["dead"]
    extra = store.runs().total() - len(store.numbers)
    return (
        f"{len(store.numbers):,} tasks, lost {len(store.lost())}, done exactly once {once:,}"
        f"{f', dead {dead}' if dead else ''}, extra runs {max(extra, 0):,}"
    )
