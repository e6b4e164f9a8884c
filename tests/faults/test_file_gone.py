"""The file is removed, or another is put in its place, under a worker and a program that pushes."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from layered.backends.sqlite.writer import Writer
from layered.errors import Fatal
from layered.worker.builder import SettingsChange
from tests.faults.backends import on_sqlite
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import TASKS, Loop, Unit
from tests.faults.store import Store
from tests.faults.store_sqlite import opened
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, broken, held, stop

pytestmark = on_sqlite

FEW = 10


def move(folder: Path, to: Path) -> None:
    """Move a store, with its log, from one folder to another; it may be in use."""
    for name in ("tasks.db", "tasks.db-wal", "tasks.db-shm"):
        if (folder / name).exists():
            os.replace(folder / name, to / name)  # noqa: PTH105 - the same in two words


@pytest.mark.parametrize("fault", ["removed", "replaced"])
@pytest.mark.timeout(LIMIT + 30)
def test_a_file_that_is_gone_ends_the_worker_and_loses_nothing(
    store: Store, crew: Crew, loop: Loop, fault: str, report: Callable[[str, str], None]
) -> None:
    """Pushes are refused and the worker ends; put back, the file has all that was accepted."""
    away = store.folder / "away"
    away.mkdir()
    store.push([Unit(n, seconds=0.01) for n in range(TASKS - FEW)])
    setting = store.setting(loop=loop, numbers=SettingsChange(lease=0.5, concurrency=8))
    worker = crew.start(setting)
    wait_until(lambda: store.done() >= TASKS // 8, LIMIT, "some are done")

    move(store.folder, away)
    other: AbstractContextManager[Any] = nullcontext()
    if fault == "replaced":
        other = opened(store.folder)
    with other as intruder:
        if intruder is not None:
            intruder.push([Unit(n) for n in range(FEW)])
        with pytest.raises(Fatal):
            store.push([Unit(n) for n in range(TASKS - FEW, TASKS)])
        status = worker.wait(15.0)
        if intruder is not None:
            assert [(row.state, row.epoch) for row in intruder.rows().values()] == [
                ("ready", 0)
            ] * FEW
    done = store.done()
    move(away, store.folder)
    store.push([Unit(n) for n in range(TASKS - FEW, TASKS)])
    crew.start(setting)
    wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")
    stop(crew)

    assert status == 1
    assert TASKS // 8 <= done < TASKS
    assert broken(store, crew, extra=MAX_IN_FLIGHT) == []
    report(
        f"file {fault}, {loop}",
        f"{held(store)}; pushes refused, the worker ended with status {status} when {done:,} were "
        f"done, the rest after the file was back",
    )


def test_the_check_finds_pushes_into_a_file_that_is_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would accept them, and whoever opens the path would not find them."""
    monkeypatch.setattr(Writer, "_misplaced", lambda _: None)
    away = store.folder / "away"
    away.mkdir()
    move(store.folder, away)

    store.push([Unit(n) for n in range(FEW)])

    with opened(store.folder) as found:
        found.numbers = store.numbers
        assert found.lost() == list(range(FEW))
