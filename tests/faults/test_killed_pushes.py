"""A process that pushes is killed amid its writes; what was accepted stands."""

import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_sqlite
from tests.faults.processes import Crew
from tests.faults.producer import task_id
from tests.faults.setting import LOOPS, TASKS, Setting
from tests.faults.store_sqlite import opened
from tests.faults.work import LIMIT, Work, broken, held, stop

pytestmark = on_sqlite


@pytest.mark.timeout(LIMIT + 30)
def test_accepted_pushes_stand_when_the_process_is_killed_amid_a_write(
    tmp_path: Path, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """Half a page in the log or in the file: it opens, and has what was accepted, once."""
    crew = Crew(tmp_path)
    try:
        killed = push_all(crew, tmp_path, chance)
        with opened(tmp_path) as store:
            store.numbers.update((n, task_id(n)) for n in range(TASKS))
            numbers = SettingsChange(concurrency=50)
            work = [store.setting(loop=loop, numbers=numbers) for loop in LOOPS]
            Work(store, crew, chance).do(work)
            stop(crew)

            assert store.count("SELECT count(*) FROM task") == TASKS
            assert broken(store, crew, extra=0) == []
            assert killed["in a commit"] > 0
            assert killed["in a checkpoint"] > 0
            report(
                "killed amid a write of the file",
                f"{held(store)}; {killed['in a commit']} kills amid the log, "
                f"{killed['in a checkpoint']} amid a checkpoint, pushed again with the same ids",
            )
    finally:
        crew.close()


def push_all(crew: Crew, folder: Path, chance: random.Random) -> Counter[str]:
    """
    Push all tasks, by processes that the kernel kills when a file grows beyond a limit.

    No other process has the file open meanwhile, so each has to recover it.

    Returns:
        In which file they were killed.
    """
    database, log = folder / "tasks.db", folder / "tasks.db-wal"
    accepted, killed = -1, Counter[str]()
    while accepted < TASKS - 1:
        sizes = [path.stat().st_size for path in (database, log) if path.exists()]
        limit = max(sizes, default=0) + chance.randrange(300_000, 1_500_000)
        process = crew.start(
            Setting(
                str(folder),
                loop=chance.choice(LOOPS),
                program="tests.faults.producer",
                file_size=limit,
                push=(accepted + 1, TASKS),
            )
        )
        status = process.wait(30.0)
        accepted = max([accepted, *(int(told.status) for told in process.heard("Pushed"))])
        if status == -signal.SIGXFSZ:
            grown = log.exists() and log.stat().st_size == limit
            killed["in a commit" if grown else "in a checkpoint"] += 1
        else:
            assert status == 0
    return killed
