"""SIGTERM: a worker process ends in limited time, and leaves nothing behind."""

import random
import signal
import time
from collections.abc import Callable, Sequence

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import LOOPS, TASKS, Loop, PlainUnit, Unit
from tests.faults.store import Row, Store

SLACK = 2.0
"""Seconds for the rest, beyond both graces."""
ENDINGS = max(3, TASKS // 250)
"""Workers that are told to end under load."""
GIVEN_BACK = Row("ready", attempt=0, lost=0, epoch=1)
DONE = Row("done", attempt=1, lost=0, epoch=1)

loops = pytest.mark.parametrize("loop", LOOPS)


class Ending:
    """
    Starts a worker, lets it get going, and tells it to end.

    Args:
        store: Where the tasks are.
        crew: Takes the process.
        loop: Its event loop.
        grace: Seconds of grace; the cancel grace is half a second.
        concurrency: Most handlers at once.
        lease: Seconds; by default nothing here comes right by the end of a lease.
    """

    def __init__(
        self,
        store: Store,
        crew: Crew,
        loop: Loop,
        *,
        grace: float,
        concurrency: int = 20,
        lease: float = 30.0,
    ) -> None:
        self.store = store
        self.crew = crew
        self.loop = loop
        self.numbers = SettingsChange(
            lease=lease, concurrency=concurrency, grace=grace, cancel_grace=0.5
        )

    def start(
        self, units: Sequence[Unit | PlainUnit], *, begun: int, storage: str = ""
    ) -> WorkerProcess:
        """Start a worker with *units* to do, and wait until *begun* of them have begun."""
        self.store.push(units)
        worker = self.crew.start(
            self.store.setting(loop=self.loop, storage=storage, numbers=self.numbers)
        )
        wait_until(lambda: len(self.store.ledger.lines()) >= begun, 15.0, f"{begun} begun")
        return worker

    def end(self, worker: WorkerProcess, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; answer the status, if it comes within the limits."""
        worker.send(number)
        return worker.wait(self.numbers["grace"] + self.numbers["cancel_grace"] + SLACK)

    def rows(self) -> list[Row]:
        """Read all tasks, by number."""
        return [self.store.row(number) for number in sorted(self.store.numbers)]


@loops
def test_sigterm_lets_running_handlers_end_within_the_grace(
    store: Store, crew: Crew, loop: Loop
) -> None:
    """What runs is done; what has not been claimed stays as it was; the status is 0."""
    ending = Ending(store, crew, loop, grace=20.0, concurrency=5)
    worker = ending.start([Unit(n, "hold") for n in range(8)], begun=5)

    worker.send(signal.SIGTERM)
    worker.wait_for("StateChanged", "draining")
    store.ledger.gate(1).touch()

    assert worker.wait(SLACK) == 0
    assert ending.rows() == [DONE] * 5 + [Row("ready", 0, 0, 0)] * 3


@loops
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_back_what_does_not_end_within_the_grace(
    store: Store, crew: Crew, loop: Loop, number: signal.Signals
) -> None:
    """Cancelled handlers, and threads that look whether to stop, cost their tasks no attempt."""
    ending = Ending(store, crew, loop, grace=0.3)
    worker = ending.start([Unit(0, "hold"), Unit(1, "hold"), PlainUnit(2, "cooperate")], begun=3)

    status = ending.end(worker, number)

    assert status == 0
    assert ending.rows() == [GIVEN_BACK] * 3


@loops
def test_sigterm_ends_a_worker_that_has_nothing_to_do(store: Store, crew: Crew, loop: Loop) -> None:
    """Grace is for handlers that run: without any there is nothing to wait for."""
    ending = Ending(store, crew, loop, grace=20.0)
    worker = ending.start([], begun=0)
    worker.wait_for("StateChanged", "running")

    worker.send(signal.SIGTERM)

    assert worker.wait(SLACK) == 0
    assert [told.status for told in worker.told] == ["running", "draining", "stopped"]


@loops
def test_sigterm_charges_nothing_to_tasks_that_were_claimed_and_not_begun(
    store: Store, crew: Crew, loop: Loop
) -> None:
    """Handlers block the loop, so that others of the same claim wait: those are as before it."""
    ending = Ending(store, crew, loop, grace=0.3, concurrency=40)
    worker = ending.start([Unit(n, "block", 0.1) for n in range(40)], begun=1)

    status = ending.end(worker)

    begun = set(store.runs())
    assert status == 0
    assert 1 <= len(begun) < 40
    assert {n for n in store.numbers if store.row(n) == DONE} == begun
    assert {n for n in store.numbers if store.row(n) == GIVEN_BACK} == set(store.numbers) - begun


@loops
def test_sigterm_ends_a_process_whose_handler_swallows_its_cancellation(
    store: Store, crew: Crew, loop: Loop
) -> None:
    """Status 70; the task of that handler is given back like those of the others."""
    ending = Ending(store, crew, loop, grace=0.3)
    worker = ending.start([Unit(0, "swallow"), Unit(1, "hold"), Unit(2, "swallow")], begun=3)

    status = ending.end(worker)

    assert status == 70
    assert ending.rows() == [GIVEN_BACK] * 3


@loops
def test_sigterm_ends_a_process_whose_thread_does_not_look_whether_to_stop(
    store: Store, crew: Crew, loop: Loop
) -> None:
    """Status 70; the task of that thread is given back, what ended before is done."""
    ending = Ending(store, crew, loop, grace=0.3)
    worker = ending.start([PlainUnit(0, "ignore"), Unit(1), PlainUnit(2, "cooperate")], begun=3)

    status = ending.end(worker)

    assert status == 70
    assert ending.rows() == [GIVEN_BACK, DONE, GIVEN_BACK]


@loops
def test_a_second_sigterm_cuts_the_grace(store: Store, crew: Crew, loop: Loop) -> None:
    """The first drains, the second cancels at once."""
    ending = Ending(store, crew, loop, grace=60.0)
    worker = ending.start([Unit(0, "hold"), PlainUnit(1, "cooperate")], begun=2)

    worker.send(signal.SIGTERM)
    worker.wait_for("StateChanged", "draining")
    worker.send(signal.SIGTERM)

    assert worker.wait(0.5 + SLACK) == 0
    assert ending.rows() == [GIVEN_BACK] * 2


@pytest.mark.timeout(60 + TASKS / 50)
@loops
def test_sigterm_at_any_moment_strands_nothing(
    store: Store,
    crew: Crew,
    loop: Loop,
    chance: random.Random,
    report: Callable[[str, str], None],
) -> None:
    """Under load, claims and settles on their way included: all is done, or as it was."""
    ending = Ending(store, crew, loop, grace=5.0)
    tasks = ENDINGS * 2000
    store.push([Unit(n, seconds=0.002) for n in range(tasks)])
    given_back = 0
    for _ in range(ENDINGS):
        begun = len(store.ledger.lines())
        worker = ending.start([], begun=begun + 50)
        time.sleep(chance.uniform(0.0, 0.1))  # which moment: this is what chance decides
        assert ending.end(worker) == 0
        assert store.held_by(worker.pid) == 0
        given_back += len(worker.heard("TaskEnded", "ready"))

    runs = store.runs()
    assert 0 < len(runs) < tasks
    assert set(runs.values()) == {1}
    states = store.states()
    assert states == {"done": len(runs), "ready": tasks - len(runs)}
    assert (
        store.count(
            "SELECT count(*) FROM task WHERE attempt <> CASE WHEN state = 5 THEN 1 ELSE 0 END"
        )
        == 0
    )
    assert store.not_done_once() == [
        f"task {n} is ready, by 0 writes" for n in range(tasks) if n not in runs
    ]
    report(
        f"SIGTERM under load, {loop}",
        f"{len(runs):,} tasks, {ENDINGS} workers ended, {given_back} given back, "
        f"extra runs {runs.total() - len(runs)}, attempts charged for nothing 0",
    )


@pytest.mark.parametrize("fault", ["ChargedRelease", "Stranding"])
def test_the_checks_find_a_release_that_charges_or_strands(
    store: Store, crew: Crew, fault: str
) -> None:
    """With such a fault the tasks are not as they were before."""
    ending = Ending(store, crew, "asyncio", grace=0.3)
    storage = store.named(fault)
    worker = ending.start([Unit(0, "hold"), Unit(1, "hold")], begun=2, storage=storage)

    status = ending.end(worker)

    wrong = Row("ready", 1, 0, 1) if fault == "ChargedRelease" else Row("running", 1, 0, 1)
    assert status == 0
    assert ending.rows() == [wrong] * 2


@loops
def test_sigterm_ends_a_process_in_time_although_the_store_is_locked(
    store: Store, crew: Crew, loop: Loop
) -> None:
    """No phase of the drain waits for the store without limit; the lease then ends by itself."""
    ending = Ending(store, crew, loop, grace=0.3, lease=1.0)  # the keeper waits for the lock, too
    worker = ending.start([Unit(0, "hold"), PlainUnit(1, "cooperate")], begun=2)

    with store.lock():
        status = ending.end(worker)

    assert status == 0
    assert ending.rows() == [Row("running", 1, 0, 1)] * 2
