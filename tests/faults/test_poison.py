"""Tasks that take their worker with them: dead after `max_lost` workers; the others are done."""

import random
import signal
from collections.abc import Callable, Sequence

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.deeds import EXIT_STATUS
from tests.faults.processes import Crew
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store import Row, Store
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, Work, broken, held, stop

PILLS = {"exit": EXIT_STATUS, "segfault": -signal.SIGSEGV, "die always": -signal.SIGKILL}
"""What a task does to its process, and how that is then seen to end."""
EACH = TASKS // 1000
MAX_LOST = 3
MEMORY = 2 << 30
"""Bytes of address space of a worker."""


@pytest.mark.timeout(LIMIT + 30)
def test_tasks_that_kill_every_worker_are_dead_after_max_lost(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """Exit, segmentation fault, SIGKILL as when memory runs out: each costs three workers."""
    deeds = [*PILLS, "hoard"] * EACH
    deeds += ["wait"] * (TASKS - len(deeds))
    chance.shuffle(deeds)
    for deed in (*PILLS, "hoard", "wait"):
        # Those that run beside a pill are charged the lost worker, too.
        max_lost = MAX_LOST if deed in PILLS else 1000
        units = [Unit(n, deed, 0.01) for n, one in enumerate(deeds) if one == deed]
        store.push(units, max_lost=max_lost)
    numbers = SettingsChange(lease=0.5, concurrency=4)
    settings = [
        store.setting(loop=loop, numbers=numbers, memory=MEMORY, tell=()) for loop in LOOPS * 2
    ]
    work = Work(store, crew, chance, ways=frozenset(PILLS.values()))

    seconds = work.do(settings)
    stop(crew)

    rows = store.rows()
    died = work.died.total()
    for number, deed in enumerate(deeds):
        if deed in PILLS:
            assert rows[number] == Row("dead", attempt=MAX_LOST, lost=MAX_LOST, epoch=MAX_LOST)
        else:
            assert rows[number].state == ("dead" if deed == "hoard" else "done")
    assert last_errors(store, deeds, "hoard") == {"MemoryError"}
    assert all(last_errors(store, deeds, deed) == {"worker_lost"} for deed in PILLS)
    assert set(work.died) <= set(PILLS.values())  # one may die of the others, each time
    assert died >= MAX_LOST
    assert broken(store, crew, extra=died * MAX_IN_FLIGHT) == []
    beside = max(rows[n].lost for n, deed in enumerate(deeds) if deed == "wait")
    report(
        "poison tasks",
        f"{held(store)}; {EACH} each of exit, segmentation fault, SIGKILL took {died} workers, "
        f"each dead when lost {MAX_LOST} times; {EACH} out of memory: MemoryError, dead as of any "
        f"failure; a task beside them was lost {beside} times at the most; {seconds:.1f} s",
    )


@pytest.mark.timeout(LIMIT)
def test_the_check_finds_a_pill_that_no_number_of_workers_ends(
    store: Store, crew: Crew, chance: random.Random
) -> None:
    """With lost workers not counted it would go on for ever."""
    store.push([Unit(0, "exit")], max_lost=MAX_LOST)
    storage = store.named("Uncharging")
    setting = store.setting(storage=storage, numbers=SettingsChange(lease=0.2))

    for _ in range(MAX_LOST + 1):
        assert crew.start(setting).wait(15.0) == EXIT_STATUS

    found = broken(store, crew, extra=MAX_LOST)
    assert {"task 0 is lost", "task 0 ran too often"} <= set(found)


def last_errors(store: Store, deeds: Sequence[str], deed: str) -> set[str]:
    """Collect the types of the last errors of the tasks that do *deed*."""
    ids = [store.numbers[number] for number, one in enumerate(deeds) if one == deed]
    records = store.portal.call(store.storage.fetch, ids)
    return {record.errors[-1].type for record in records if record is not None}
