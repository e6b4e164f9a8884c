"""A worker is killed at a chosen point of a run; what becomes of the task follows from it."""

import signal
from collections.abc import Callable, Sequence

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import LOOPS, Setting, Unit
from tests.faults.store import Row, Store

LEASE = 0.5
EACH = 4
"""Tasks for each point."""

POINTS: dict[str, tuple[Row, int]] = {
    # The point: the task at the end, and its effects in the ledger.
    "die when claimed": (Row("done", 2, 1, 2), 1),
    "die before the effect": (Row("done", 2, 1, 2), 1),
    "die after the effect": (Row("done", 2, 1, 2), 2),
    "die before the settle": (Row("done", 2, 1, 2), 2),
    "die after the settle": (Row("done", 1, 0, 1), 1),
}


def work_on(store: Store, crew: Crew, settings: Sequence[Setting], *, kills: int) -> float:
    """
    Work until all tasks have ended, with a new process for each that was killed.

    Args:
        store: Has the tasks.
        crew: Takes the processes.
        settings: Of the processes that work at the same time.
        kills: How many processes will be killed.

    Returns:
        The seconds that it took.
    """
    running = [crew.start(setting) for setting in settings]

    def ended() -> bool:
        for at, process in enumerate(running):
            if not process.alive:
                assert process.wait(1.0) == -signal.SIGKILL
                running[at] = crew.start(process.setting)
        return store.live() == 0 and len(crew.processes) - len(running) >= kills

    return wait_until(ended, 60.0, f"all tasks ended and {kills} processes")


@pytest.mark.timeout(90)
def test_a_task_runs_again_exactly_as_often_as_its_workers_were_lost(
    store: Store, crew: Crew, report: Callable[[str, str], None]
) -> None:
    """Killed once at each point of 20 tasks: what was settled stays, all else runs once more."""
    deeds = list(POINTS) * EACH
    store.push([Unit(n, deed) for n, deed in enumerate(deeds)])
    settings = [
        store.setting(
            loop=loop,
            storage="tests.faults.storages:DeadlyStorage",
            numbers=SettingsChange(lease=LEASE, concurrency=1),
            one_by_one=True,  # so that each death takes one task along, and no other
            tell=(),
        )
        for loop in LOOPS * 2
    ]

    seconds = work_on(store, crew, settings, kills=len(deeds))

    runs = store.runs()
    report(f"{len(deeds)} kills, {store.reaped()} reaped, {seconds:.1f} s")
    assert [(store.row(n), runs[n]) for n in store.numbers] == [POINTS[deed] for deed in deeds]
    assert len(crew.processes) == len(settings) + len(deeds)
    assert store.not_done_once() == []
    assert store.integrity() == [("ok",)]


@pytest.mark.timeout(90)
def test_a_task_that_kills_every_worker_is_dead_after_max_lost(
    store: Store, crew: Crew, report: Callable[[str, str], None]
) -> None:
    """A poison pill costs three workers and ends dead; the tasks around it are done."""
    others = range(1, 13)
    store.push([Unit(0, "die always"), *(Unit(n, seconds=0.005) for n in others)], max_lost=3)
    numbers = SettingsChange(lease=LEASE, concurrency=4)
    settings = [store.setting(loop=loop, numbers=numbers, tell=()) for loop in LOOPS]

    seconds = work_on(store, crew, settings, kills=3)

    ((errors,),) = store.query("SELECT errors FROM task WHERE id = ?", store.numbers[0])
    runs = store.runs()
    report(f"3 kills, {store.reaped()} reaped, {seconds:.1f} s")
    assert (store.row(0), runs[0]) == (Row("dead", 3, 3, 3), 3)
    assert errors.count("worker_lost") == 3
    assert len(crew.processes) == len(settings) + 3
    assert store.not_done_once() == ["task 0 is dead, by 0 writes"]
    assert {n for n in others if runs[n] > 1 + store.row(n).lost} == set()
