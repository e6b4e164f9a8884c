"""Workers are killed again and again; nothing is lost, and nothing is done twice."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

import attrs
import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import LOOPS, Loop, Unit
from tests.faults.store import Store

LEASE = 1.0
CONCURRENCY = 8
MAX_IN_FLIGHT = 64
"""What a worker of that concurrency has in flight at the most."""
SECONDS, KILLS, REAPED = 20.0, 15, 50
"""The least that a run must have seen."""
WORKERS: tuple[Loop, ...] = LOOPS * 2


@attrs.define
class Siege:
    """Pushes and kills, for as long as it takes."""

    store: Store
    crew: Crew
    chance: random.Random
    kills: int = 0
    idle_kills: int = 0
    reaped: int = 0
    _numbers: "count[int]" = attrs.field(factory=count)

    def start(self, loop: Loop) -> None:
        """Start a worker."""
        numbers = SettingsChange(lease=LEASE, concurrency=CONCURRENCY)
        self.crew.start(self.store.setting(loop=loop, numbers=numbers, tell=("TaskEnded",)))

    def run(self, limit: float) -> float:
        """Go on until enough was seen; answer how long it took."""
        began = time.monotonic()
        next_kill = 2.0
        while (elapsed := time.monotonic() - began) < limit:
            assert len(self.crew.alive()) == len(WORKERS)
            self.push()
            if elapsed >= next_kill:
                self.kill()
                next_kill = time.monotonic() - began + self.chance.uniform(0.6, 1.0)
            self.reaped = self.store.reaped()
            if elapsed > SECONDS and self.kills >= KILLS and self.reaped >= REAPED:
                return elapsed
            time.sleep(0.01)
        pytest.fail(f"in {limit} s only {self.kills} kills, {self.reaped} reaped")

    def push(self) -> None:
        """See that there is enough to do, and not much more."""
        if self.store.count("SELECT count(*) FROM task WHERE state IN (2, 3)") < 300:
            self.store.push(
                [
                    Unit(next(self._numbers), seconds=self.chance.uniform(0.002, 0.010))
                    for _ in range(200)
                ],
                max_lost=1000,
            )

    def kill(self) -> None:
        """Kill a worker that holds leases, and start another one on the same loop."""
        victims = [one for one in self.crew.alive() if self.store.held_by(one.pid)]
        if not victims:
            return
        victim = self.chance.choice(victims)
        victim.send(signal.SIGKILL)
        assert victim.wait(10.0) == -signal.SIGKILL
        # It may have settled what it held between that look and its end: so look again.
        if self.store.held_by(victim.pid):
            self.kills += 1
        else:
            self.idle_kills += 1
        self.start(victim.setting.loop)


@pytest.mark.timeout(120)
def test_every_task_is_done_once_although_workers_are_killed(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str], None]
) -> None:
    """At least 15 workers that hold leases are killed in 20 s: lost 0, done exactly once each."""
    siege = Siege(store, crew, chance)
    for loop in WORKERS:
        siege.start(loop)

    seconds = siege.run(limit=60.0)
    drained = wait_until(lambda: store.live() == 0, 30.0, "all tasks ended")
    statuses = crew.terminate(10.0)

    tasks, runs = len(store.numbers), store.runs()
    extra = sum(runs.values()) - tasks
    report(
        f"{tasks} tasks, {siege.kills} kills (and {siege.idle_kills} of workers without leases), "
        f"{siege.reaped} reaped meanwhile, {store.reaped()} in all "
        f"({reaped_from_the_living(store, crew)} from living workers), {extra} extra runs, "
        f"{seconds:.1f} s, then {drained:.1f} s to drain"
    )
    assert store.not_done_once() == []
    assert set(runs) == set(store.numbers)
    assert extra <= siege.kills * MAX_IN_FLIGHT
    assert run_too_often(store, runs) == []
    assert told_more_than_once(crew) == []
    assert store.integrity() == [("ok",)]
    assert statuses == [0] * len(WORKERS)


def run_too_often(store: Store, runs: "dict[int, int]") -> list[int]:
    """Number the tasks that ran more often than their lost workers explain."""
    lost = dict(store.query("SELECT id, lost FROM task"))
    return [number for number, task in store.numbers.items() if runs[number] > 1 + lost[task]]


def told_more_than_once(crew: Crew) -> list[str]:
    """List the tasks whose end was told again: what a worker tells is durable, or it is a lie."""
    told = Counter(told.task for one in crew.processes for told in one.heard("TaskEnded", "done"))
    return [task for task, times in told.items() if times > 1]


def reaped_from_the_living(store: Store, crew: Crew) -> int:
    """Count the reapings that hit a worker that nobody had killed: it was too slow to renew."""
    alive: list[WorkerProcess] = [one for one in crew.processes if one.wait(10.0) == 0]
    return sum(
        store.count(
            "SELECT count(*) FROM task, json_each(errors) AS one WHERE one.value LIKE ?",
            f"%/{one.pid}/%",
        )
        for one in alive
    )
