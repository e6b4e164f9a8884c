"""A worker that is stopped past its leases, and goes on when others have taken its tasks over."""

import signal
from collections import Counter
from collections.abc import Callable

import attrs
import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import TASKS, Loop, Unit
from tests.faults.store import Row, Store
from tests.faults.work import LIMIT, broken, held, stop

FEW = 12
KINDS = ("give way", "insist", "insist each time")
"""
The first are cancelled when their worker goes on, and write nothing. The others settle with the
old fence: those while the task is done already, these while another worker runs it.
"""
OTHER: dict[Loop, Loop] = {"asyncio": "trio", "trio": "asyncio"}


@attrs.define
class Takeover:
    """A worker is stopped in its handlers, another takes its tasks over, and the first goes on."""

    store: Store
    crew: Crew
    loop: Loop
    tasks: int = FEW
    storage: str = ""

    @property
    def deeds(self) -> list[str]:
        """What the tasks do."""
        return [KINDS[number % len(KINDS)] for number in range(self.tasks)]

    def happen(self) -> WorkerProcess:
        """
        Let it happen.

        Returns:
            The first worker, which has told of the end of all its runs.
        """
        self.store.push([Unit(n, deed) for n, deed in enumerate(self.deeds)])
        first = self._start(self.loop, self.storage)
        self._wait_for_runs(self.tasks)
        first.stop(unless=self.store.locked)
        self.store.ledger.gate(1).touch()
        second = self._start(OTHER[self.loop], "")
        self._wait_for_runs(2 * self.tasks)
        done = self.tasks - self.deeds.count("insist each time")
        second.wait_for("TaskEnded", "done", count=done, limit=LIMIT)
        assert self.store.held_by(first.pid) == 0
        first.send(signal.SIGCONT)
        wait_until(
            lambda: len(first.heard("TaskStale") + first.heard("TaskEnded")) >= self.tasks,
            LIMIT,
            "all runs that were stopped have ended",
        )
        self.store.ledger.gate(2).touch()
        wait_until(lambda: self.store.live() == 0, LIMIT, "all tasks ended")
        return first

    def _start(self, loop: Loop, storage: str) -> WorkerProcess:
        # All run at once, and so many leases are not renewed in no time.
        numbers = SettingsChange(lease=max(1.0, self.tasks / 2000), concurrency=self.tasks)
        return self.crew.start(self.store.setting(loop=loop, storage=storage, numbers=numbers))

    def _wait_for_runs(self, count: int) -> None:
        wait_until(lambda: len(self.store.ledger.lines()) >= count, LIMIT, f"{count} runs began")


def late_ends_that_counted(store: Store, first: WorkerProcess) -> list[str]:
    """Name what a worker wrote that it must not have written."""
    numbers = {task: number for number, task in store.numbers.items()}
    return store.not_done_once() + [
        f"task {numbers[told.task]} was ended late" for told in first.heard("TaskEnded")
    ]


@pytest.mark.timeout(LIMIT + 30)
def test_a_worker_stopped_past_its_leases_writes_nothing_when_it_goes_on(
    store: Store, crew: Crew, loop: Loop, report: Callable[[str, str], None]
) -> None:
    """All its late ends are refused; each task is done once, by the worker that took it over."""
    first = Takeover(store, crew, loop, TASKS).happen()
    stop(crew)

    assert late_ends_that_counted(store, first) == []
    stale = Counter(told.task for told in first.heard("TaskStale"))
    assert stale == Counter(store.numbers.values())
    assert list(store.rows().values()) == [Row("done", 2, 1, 2)] * TASKS
    assert broken(store, crew, extra=TASKS) == []
    report(
        f"stopped past its leases, {loop}",
        f"{held(store)} (each was taken over once), {stale.total():,} late writes refused of "
        f"{TASKS:,}",
    )


@pytest.mark.parametrize("fault", ["Unfenced", "FencedByState"])
def test_the_check_finds_a_store_without_fences(store: Store, crew: Crew, fault: str) -> None:
    """Without the fence the same course of things ends tasks twice, or for another worker."""
    storage = store.named(fault)

    first = Takeover(store, crew, "asyncio", storage=storage).happen()

    late = range(KINDS.index("insist each time"), FEW, len(KINDS))
    twice = range(KINDS.index("insist"), FEW, len(KINDS))
    found = late_ends_that_counted(store, first)
    assert {f"task {n} was ended late" for n in late} <= set(found)
    if fault == "Unfenced":
        assert {f"task {n} is done, by 2 writes" for n in twice} <= set(found)
