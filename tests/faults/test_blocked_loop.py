"""Leases are kept, whatever handlers do to the event loop."""

import signal

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import LOOPS, PLAIN_STORAGE, Loop, Unit
from tests.faults.store import Row, Store

LEASE = 1.0
LEASES = 3
TASKS = 4
GHOST = 100  # the number of a task that a lost worker holds
NUMBERS = SettingsChange(lease=LEASE, concurrency=TASKS)


def contend(
    store: Store, crew: Crew, loop: Loop, deed: str, storage: str = PLAIN_STORAGE
) -> tuple[WorkerProcess, WorkerProcess]:
    """
    Have a handler block a worker's loop, and another worker reap what it can.

    Returns:
        Both, when the handler has ended and the other worker has reaped.
    """
    other = crew.start(store.setting(loop=loop, numbers=NUMBERS))
    other.wait_for("StateChanged", "running")
    other.stop(
        unless=store.locked
    )  # ready to contend, as soon as there is something to contend for
    # Three wait in handlers of their own, their ends held up by the fourth.
    units = [Unit(n, "wait", 0.1) for n in range(TASKS - 1)]
    store.push([*units, Unit(TASKS - 1, deed, LEASES * LEASE)])
    blocked = crew.start(store.setting(loop=loop, storage=storage, numbers=NUMBERS))
    wait_until(lambda: store.runs()[TASKS - 1] == 1, 15.0, "the handler began that blocks")
    # That the other worker does reap: the lease of somebody who is gone ends meanwhile, too.
    store.push([Unit(GHOST)])
    assert store.claim_for_nobody(1, lease=0.1) == 1
    other.send(signal.SIGCONT)
    wait_until(
        lambda: len(blocked.heard("TaskEnded") + blocked.heard("TaskStale")) >= TASKS,
        LEASES * LEASE + 15.0,
        "the blocked worker's runs ended",
    )
    wait_until(lambda: store.live() == 0, 15.0, "all tasks ended")
    return blocked, other


@pytest.mark.parametrize("deed", ["block", "spin"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_handler_that_blocks_the_event_loop_loses_no_lease(
    store: Store, crew: Crew, loop: Loop, deed: str
) -> None:
    """Leases are renewed in a thread of their own, whether the handler sleeps or computes."""
    blocked, other = contend(store, crew, loop, deed)
    statuses = crew.terminate(10.0)

    assert [told.task for told in other.heard("TaskReaped")] == [store.numbers[GHOST]]
    assert blocked.heard("TaskStale") + blocked.heard("TaskReaped") == []
    assert [store.row(n) for n in range(TASKS)] == [Row("done", 1, 0, 1)] * TASKS
    assert set(store.runs().values()) == {1}
    assert store.not_done_once() == []
    assert statuses == [0, 0]


@pytest.mark.parametrize("loop", LOOPS)
def test_leases_are_kept_although_the_keeper_could_not_connect_at_first(
    store: Store, crew: Crew, loop: Loop
) -> None:
    """It tries again: the worker goes on, and a handler may take longer than its lease."""
    store.push([Unit(0, seconds=1.5 * LEASE)])
    storage = "tests.faults.storages:LateStorage"
    worker = crew.start(store.setting(loop=loop, storage=storage, numbers=NUMBERS))
    worker.wait_for("TaskEnded", "done")

    assert crew.terminate(10.0) == [0]
    assert store.row(0) == Row("done", 1, 0, 1)


def test_the_check_finds_leases_that_are_kept_in_the_loop(store: Store, crew: Crew) -> None:
    """Renewed by the loop that is blocked, all leases are lost, and the tasks run twice."""
    storage = "tests.mutants.sqlite_storages:KeptInTheLoop"
    _, other = contend(store, crew, "asyncio", "block", storage)

    assert {told.task for told in other.heard("TaskReaped")} == set(store.numbers.values())
    assert {n: runs for n, runs in store.runs().items() if n != GHOST} == dict.fromkeys(
        range(TASKS), 2
    )
