"""Another process opens, reads and copies the file while workers work on it."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_sqlite
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import LOOPS, TASKS, Loop, Setting, Unit
from tests.faults.store_sqlite import SqliteStore
from tests.faults.work import LIMIT, broken, held, stop

pytestmark = on_sqlite

COPIES = max(4, TASKS // 500)


def states(database: Path) -> dict[int, int]:
    """Count the tasks of a store by the number of their state; every page is sound."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(connection.execute("SELECT state, count(*) FROM task GROUP BY state"))


@pytest.mark.timeout(LIMIT + 30)
def test_a_copy_made_while_workers_work_is_whole(
    store: SqliteStore,
    crew: Crew,
    chance: random.Random,
    loop: Loop,
    report: Callable[[str, str], None],
) -> None:
    """Backup API and VACUUM INTO disturb nobody; a copy goes on from where it was made."""
    store.push([Unit(n, seconds=chance.uniform(0.0, 0.05)) for n in range(TASKS)])
    for each in LOOPS:
        crew.start(store.setting(loop=each, numbers=SettingsChange(lease=1.0, concurrency=4)))
    wait_until(lambda: store.done() > 0, LIMIT, "work has begun")
    copier = store.setting(loop=loop, program="tests.faults.copier", push=(0, COPIES))
    copying = crew.start(copier)

    assert copying.wait(LIMIT) == 0
    wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")
    stop(crew)

    copies = [Path(told.status) for told in copying.heard("Copied")]
    done = [states(copy / "tasks.db") for copy in copies]
    assert broken(store, crew, extra=0) == []
    assert [sum(one.values()) for one in done] == [TASKS] * COPIES
    assert done[0].get(5, 0) < TASKS  # it was made amid the work
    finish(crew, copies[0])
    assert states(copies[0] / "tasks.db") == {5: TASKS}
    report(
        "opened and copied by another process",
        f"{held(store)}; {COPIES} copies whole, the first with {done[0].get(5, 0):,} done; "
        f"a worker finished that copy",
    )


def test_the_check_finds_a_copy_of_the_file_without_its_log(
    store: SqliteStore, tmp_path: Path
) -> None:
    """What was accepted last stands in the log."""
    store.query("PRAGMA wal_checkpoint(TRUNCATE)")
    store.push([Unit(n) for n in range(10)])

    copied = shutil.copy(store.path, tmp_path / "copy.db")

    assert sum(states(Path(copied)).values()) < 10


def finish(crew: Crew, copy: Path) -> None:
    """Have a worker do what is left in a copy, what ran when it was made included."""
    crew.start(Setting(str(copy), numbers=SettingsChange(lease=1.0, concurrency=32)))
    with closing(sqlite3.connect(copy / "tasks.db")) as connection:
        live = "SELECT count(*) FROM task WHERE state < 5"
        wait_until(lambda: connection.execute(live).fetchone() == (0,), LIMIT, "it is finished")
    stop(crew)
