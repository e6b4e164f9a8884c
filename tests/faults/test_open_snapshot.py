"""Somebody leaves a transaction open: rows that are dead pile up, and work goes on."""

import random
from collections.abc import Callable
from contextlib import closing

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_postgres
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store_postgres import PostgresStore, connect
from tests.faults.work import LIMIT, Work, broken, held, stop

pytestmark = on_postgres


@pytest.mark.timeout(LIMIT + 30)
def test_an_old_snapshot_is_warned_of_and_holds_up_nothing(
    store: PostgresStore,
    crew: Crew,
    chance: random.Random,
    report: Callable[[str, str], None],
) -> None:
    """All is done while it is open, and the log names the session to end."""
    numbers = SettingsChange(concurrency=20)
    settings = [
        store.setting(storage=store.named("Impatient"), loop=loop, numbers=numbers)
        for loop in LOOPS
    ]
    with closing(connect(store.dsn, store.schema)) as forgotten:
        forgotten.execute("SET application_name = 'forgotten'")
        forgotten.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        forgotten.execute("SELECT count(*) FROM task")
        old = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgotten'"
            " AND xact_start < clock_timestamp() - interval '1 s'"
        )
        wait_until(lambda: store.count(old) > 0, 15.0, "the snapshot is older than Impatient waits")
        store.push([Unit(n) for n in range(TASKS)])

        seconds = Work(store, crew, chance).do(settings)
        stop(crew)
        store.query("VACUUM task")
        dead = store.count(
            "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'task'::regclass"
        )

    log = crew.log.read_text()
    assert dead >= 2 * TASKS  # each was written three times, and no vacuum could remove any
    assert "forgotten" in log
    assert broken(store, crew, extra=0) == []
    report(
        "a snapshot left open",
        f"{held(store)}, {dead:,} dead rows that no vacuum removes, {seconds:.1f} s, warned of",
    )
