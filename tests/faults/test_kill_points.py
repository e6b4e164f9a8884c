"""A worker is killed at a chosen point of a run; what becomes of the task follows from it."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_sqlite
from tests.faults.processes import Crew
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.storages import SPRINGS, TRAPS
from tests.faults.store import Row, Store
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, Work, broken, held, stop

LEASE = 1.0
EACH = TASKS // 250
"""Tasks for each point."""

POINTS: dict[str, tuple[Row, int]] = {
    # The point: the task at the end, and its effects in the ledger.
    "die when claimed": (Row("done", 2, 1, 2), 1),
    "die before the effect": (Row("done", 2, 1, 2), 1),
    "die after the effect": (Row("done", 2, 1, 2), 2),
    "die before the settle": (Row("done", 2, 1, 2), 2),
    "die after the settle": (Row("done", 1, 0, 1), 1),
    "wait": (Row("done", 1, 0, 1), 1),
}


@pytest.mark.timeout(LIMIT + 30)
def test_a_task_runs_again_exactly_as_often_as_its_workers_were_lost(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """Killed at each point of a run: what was settled stays, all else runs once more."""
    fatal = [deed for deed in POINTS if deed != "wait"] * EACH
    deeds = fatal + ["wait"] * (TASKS - len(fatal))
    chance.shuffle(deeds)
    store.push([Unit(n, deed) for n, deed in enumerate(deeds)])
    settings = [
        store.setting(
            loop=loop,
            storage=store.named("DeadlyStorage"),
            numbers=SettingsChange(lease=LEASE, concurrency=1),
            one_by_one=True,  # so that each death takes one task along, and no other
            tell=(),
        )
        for loop in LOOPS * 2
    ]
    work = Work(store, crew, chance)

    seconds = work.do(settings, deaths=len(fatal))
    stop(crew)

    rows, runs = store.rows(), store.runs()
    assert [(rows[n], runs[n]) for n in rows] == [POINTS[deed] for deed in deeds]
    assert work.died.total() == len(fatal)
    assert broken(store, crew, extra=2 * EACH) == []  # those that had left their effect
    report(
        "killed at chosen points of a run",
        f"{held(store)} (expected {2 * EACH}), {EACH} kills each when claimed, before the effect, "
        f"after it, before the settle, after its commit; {seconds:.1f} s",
    )


@on_sqlite
@pytest.mark.timeout(LIMIT + 30)
def test_a_kill_amid_a_transaction_leaves_nothing_of_it(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """Killed while SQLite claims, settles, reaps, prunes: the file is as before, or as after."""
    add_old_rows(store, 300)
    store.push([Unit(n, seconds=0.002) for n in range(TASKS)], max_lost=1000)
    assert store.claim_for_nobody(20, lease=0.1) == 20
    settings = [
        store.setting(
            loop=loop,
            storage=store.named("TrapStorage"),
            numbers=SettingsChange(lease=LEASE, concurrency=16),
            tell=(),
        )
        for loop in LOOPS
    ]
    kills = SPRINGS * len(TRAPS)

    seconds = Work(store, crew, chance, reaping=False).do(settings, deaths=kills)
    stop(crew)

    sprung = Counter(path.name.rpartition(" ")[0] for path in store.folder.iterdir())
    assert {name: sprung[name] for name in TRAPS} == dict.fromkeys(TRAPS, SPRINGS)
    assert broken(store, crew, extra=kills * MAX_IN_FLIGHT) == []
    assert store.count("SELECT count(*) FROM task") == TASKS  # the old ones are gone
    report(
        "killed amid transactions",
        f"{held(store)} (bound {kills * MAX_IN_FLIGHT:,}), {SPRINGS} kills each "
        f"{', '.join(TRAPS)}; {seconds:.1f} s",
    )


def add_old_rows(store: Store, count: int) -> None:
    """Add tasks that ended in 1970, for prune to find."""
    store.query(
        "WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < ?)"
        "INSERT INTO task (id, queue, name, state, priority, due_at, created_at, finished_at,"
        " max_lost, codec, version, payload)"
        "SELECT n, 'default', 'Unit', 7, 5, 0, 0, 0, 3, 'json', 1, x'' FROM number",
        count,
    )
