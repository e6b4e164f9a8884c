"""A worker that works for long: memory, descriptors, threads and the store stay as they are."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from layered.backend import Limits
from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import Loop, Unit
from tests.faults.store import Opening, Store

SECONDS = float(os.environ.get("SOAK_SECONDS", "8"))
"""How long: the short form runs in CI, `make soak` takes longer."""
EVERY = 0.2
"""Seconds between samples, and between prunes."""
MORE_MEMORY = 6 << 20
"""Bytes of resident memory that a worker may gain once it is warm."""
MORE_STORE = 2.0
"""Times that the store may be as large as when it was warm."""
SHORT = Limits(keep_done=0.5, keep_dead=0.5, tombstone=0.5)


class Sample(NamedTuple):
    """What a worker takes up: bytes, counts; and the size of the store."""

    memory: int
    descriptors: int
    threads: int
    store: int


def sample(worker: WorkerProcess, store: Store) -> Sample:
    """Look at a worker and at its store."""
    process = Path("/proc", str(worker.pid))
    pages = int((process / "statm").read_text().split()[1])
    return Sample(
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        store.size(),
    )


def growth(samples: Sequence[Sample]) -> list[str]:
    """Say what grew from the second third of the time to the last."""
    third = len(samples) // 3
    warm, late = (
        Sample(*(int(median(column)) for column in zip(*part, strict=True)))
        for part in (samples[third : 2 * third], samples[2 * third :])
    )
    bounds = Sample(
        warm.memory + MORE_MEMORY, warm.descriptors, warm.threads, int(warm.store * MORE_STORE)
    )
    return [
        f"{name} grew from {before:,} to {after:,}, at most {bound:,}"
        for name, before, after, bound in zip(Sample._fields, warm, late, bounds, strict=True)
        if after > bound
    ]


def soak(store: Store, worker: WorkerProcess, seconds: float, deed: str) -> Iterator[Sample]:
    """Keep a worker busy, prune what it has done, and look at it now and then."""
    numbers, end = count(), time.monotonic() + seconds
    while time.monotonic() < end:
        due = time.monotonic() + EVERY
        while time.monotonic() < due:
            if store.live() < 500:
                store.push([Unit(next(numbers), deed) for _ in range(200)])
                store.numbers.clear()  # a list of all would itself grow
            time.sleep(0.01)
        twice = "SELECT task FROM audit WHERE what = 'done' GROUP BY task HAVING count(*) > 1"
        assert store.query(twice) == []
        store.query("DELETE FROM audit")
        store.portal.call(store.storage.prune, 100_000)
        yield sample(worker, store)
    wait_until(lambda: store.live() == 0, 30.0, "all tasks ended")


def run(
    open_store: Opening, loop: Loop, seconds: float, deed: str = "wait"
) -> tuple[int, list[Sample]]:
    """Soak one worker; answer how many tasks it has done, and the samples."""
    with open_store(limits=SHORT) as store:
        crew = Crew(store.folder)
        try:
            numbers = SettingsChange(concurrency=20)
            worker = crew.start(store.setting(loop=loop, numbers=numbers, tell=()))
            samples = list(soak(store, worker, seconds, deed))
            assert crew.terminate(10.0) == [0]
        finally:
            crew.close()
        return len(store.ledger.lines()), samples


@pytest.mark.timeout(SECONDS + 90)
def test_a_worker_that_works_for_long_takes_up_no_more(
    open_store: Opening, loop: Loop, report: Callable[[str, str], None]
) -> None:
    """Memory, descriptors, threads and the pruned store are as large as when it was warm."""
    tasks, samples = run(open_store, loop, SECONDS)

    assert growth(samples) == []
    warm, last = samples[len(samples) // 3], samples[-1]
    report(
        f"soak, {loop}",
        f"{tasks:,} tasks in {SECONDS:g} s; from a third of the time to the end: memory "
        f"{warm.memory / 1e6:.1f} to {last.memory / 1e6:.1f} MB, descriptors {warm.descriptors} to "
        f"{last.descriptors}, threads {warm.threads} to {last.threads}, store "
        f"{warm.store / 1e6:.1f} to {last.store / 1e6:.1f} MB",
    )


def test_the_check_finds_a_worker_that_leaks(open_store: Opening, loop: Loop) -> None:
    """A handler that keeps 16 KiB of each task, and a descriptor of every tenth."""
    _, samples = run(open_store, loop, 4.0, "leak")

    assert {said.split()[0] for said in growth(samples)} >= {"memory", "descriptors"}
