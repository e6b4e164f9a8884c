"""Leases are kept, whatever handlers do to the event loop."""

import signal
from collections import Counter
from collections.abc import Callable

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import TASKS, Loop, Unit
from tests.faults.store import Row, Store
from tests.faults.work import LIMIT, broken, held, stop

LEASE = 2.0
LEASES = 3
HELD = 4
"""Tasks that the blocked worker holds: one blocks, the ends of the others are held up by it."""
GHOST = HELD
"""The number of a task that a lost worker holds."""


def contend(
    store: Store, crew: Crew, loop: Loop, deed: str, storage: str = ""
) -> tuple[WorkerProcess, WorkerProcess]:
    """
    Have a handler block a worker's loop, and another worker do the rest and reap what it can.

    Returns:
        Both, when the handler has ended and the other worker has reaped.
    """
    numbers = SettingsChange(lease=LEASE, concurrency=HELD)
    other = crew.start(store.setting(loop=loop, numbers=numbers))
    other.wait_for("StateChanged", "running")
    # Ready to contend, as soon as there is something to contend for.
    other.stop(unless=store.locked)
    units = [Unit(n, "wait", 0.1) for n in range(HELD - 1)]
    store.push([*units, Unit(HELD - 1, deed, LEASES * LEASE)])
    blocked = crew.start(store.setting(loop=loop, storage=storage, numbers=numbers))
    wait_until(lambda: store.runs()[HELD - 1] == 1, 15.0, "the handler began that blocks")
    # That the other worker does reap: the lease of somebody who is gone ends meanwhile, too.
    store.push([Unit(GHOST)])
    assert store.claim_for_nobody(1, lease=0.1) == 1
    store.push([Unit(n) for n in range(GHOST + 1, TASKS)])
    other.send(signal.SIGCONT)
    wait_until(
        lambda: len(blocked.heard("TaskEnded") + blocked.heard("TaskStale")) >= HELD,
        LIMIT,
        "the blocked worker's runs ended",
    )
    wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")
    return blocked, other


@pytest.mark.parametrize("deed", ["block", "spin"])
@pytest.mark.timeout(LIMIT + 30)
def test_a_handler_that_blocks_the_event_loop_loses_no_lease(
    store: Store, crew: Crew, loop: Loop, deed: str, report: Callable[[str, str], None]
) -> None:
    """Leases are renewed in a thread of their own, whether the handler sleeps or computes."""
    blocked, other = contend(store, crew, loop, deed)
    stop(crew)

    assert [told.task for told in other.heard("TaskReaped")] == [store.numbers[GHOST]]
    assert blocked.heard("TaskStale") + blocked.heard("TaskReaped") == []
    rows = store.rows()
    assert [rows[n] for n in range(HELD)] == [Row("done", 1, 0, 1)] * HELD
    assert broken(store, crew, extra=0) == []
    what = "time.sleep" if deed == "block" else "a loop of Python"
    report(
        f"event loop blocked by {what}, {loop}",
        f"{held(store)}; blocked for {LEASES} leases, leases lost 0 of {HELD}",
    )


@pytest.mark.timeout(LIMIT + 30)
def test_a_handler_that_holds_the_gil_loses_its_leases_and_its_late_end_is_refused(
    store: Store, crew: Crew, loop: Loop, report: Callable[[str, str], None]
) -> None:
    """No thread of the process can renew: others take its tasks over, and each is done once."""
    blocked, other = contend(store, crew, loop, "backtrack")
    stop(crew)

    mine = {store.numbers[n] for n in range(HELD)}
    assert {told.task for told in other.heard("TaskReaped")} == {*mine, store.numbers[GHOST]}
    assert Counter(told.task for told in blocked.heard("TaskStale")) == Counter(mine)
    rows = store.rows()
    assert [rows[n] for n in range(HELD)] == [Row("done", 2, 1, 2)] * HELD
    assert broken(store, crew, extra=HELD) == []
    report(
        f"GIL held by one match of a regular expression, {loop}",
        f"{held(store)}; held for {LEASES} leases, leases lost {HELD} of {HELD}, "
        f"late writes refused {HELD} of {HELD}",
    )


def test_leases_are_kept_although_the_keeper_could_not_connect_at_first(
    store: Store, crew: Crew, loop: Loop
) -> None:
    """It tries again: the worker goes on, and a handler may take longer than its lease."""
    store.push([Unit(0, seconds=1.5 * LEASE)])
    storage = store.named("LateStorage")
    worker = crew.start(
        store.setting(loop=loop, storage=storage, numbers=SettingsChange(lease=LEASE))
    )
    worker.wait_for("TaskEnded", "done")

    assert crew.terminate(10.0) == [0]
    assert store.row(0) == Row("done", 1, 0, 1)


def test_the_check_finds_leases_that_are_kept_in_the_loop(store: Store, crew: Crew) -> None:
    """Renewed by the loop that is blocked, all leases are lost, and the tasks run twice."""
    storage = store.named("KeptInTheLoop")
    _, other = contend(store, crew, "asyncio", "block", storage)

    reaped = {told.task for told in other.heard("TaskReaped")}
    assert reaped == {store.numbers[n] for n in (*range(HELD), GHOST)}
    assert {n for n, runs in store.runs().items() if runs > 1} == set(range(HELD))
    assert f"{HELD} extra runs, at most 0 are explained" in broken(store, crew, extra=0)
