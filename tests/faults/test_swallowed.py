"""Handlers that swallow their cancellation: at a time limit, at a deadline, and in a drain."""

import signal
from collections.abc import Callable

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store import Row, Store
from tests.faults.work import LIMIT, broken, held

STUCK = 70
"""The exit status of a worker whose handlers would not end."""
EACH = max(2, TASKS // 5000)
"""Tasks of each kind of bad manners; a worker keeps more places than they can take."""
MAX_LOST = 3
CONCURRENCY = 4 * EACH * MAX_LOST


@pytest.mark.timeout(LIMIT + 30)
def test_handlers_that_swallow_their_cancellation_keep_nobody_else_from_ending(
    store: Store, crew: Crew, report: Callable[[str, str], None]
) -> None:
    """One that ends late keeps its result; one that never ends is dead after `max_lost` runs."""
    store.push([Unit(n, "swallow") for n in range(EACH)], max_lost=MAX_LOST)
    store.push([Unit(n, "shrug") for n in range(EACH, 2 * EACH)])
    store.push([Unit(n) for n in range(2 * EACH, TASKS)])
    numbers = SettingsChange(lease=0.5, concurrency=CONCURRENCY, grace=0.2, cancel_grace=0.2)
    for loop in LOOPS:
        crew.start(store.setting(loop=loop, numbers=numbers, timeout=0.2, deadline=0.3))

    seconds = wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")
    statuses = crew.terminate(10.0)

    rows = store.rows()
    assert [rows[n] for n in range(EACH)] == [Row("dead", MAX_LOST, MAX_LOST, MAX_LOST)] * EACH
    assert {rows[n] for n in range(EACH, TASKS)} == {Row("done", 1, 0, 1)}
    assert broken(store, crew, extra=EACH * (MAX_LOST - 1)) == []
    assert STUCK in statuses
    assert set(statuses) <= {0, STUCK}
    report(
        "cancellation swallowed",
        f"{held(store)}; {EACH} that never end are dead after {MAX_LOST} runs, {EACH} that end "
        f"late are done; SIGTERM ends the workers with {sorted(statuses)}; {seconds:.1f} s",
    )


def test_the_check_finds_a_handler_that_never_ends_and_has_no_deadline(
    store: Store, crew: Crew
) -> None:
    """Its lease is renewed for ever, so its task never ends: this is what a deadline is for."""
    store.push([Unit(0, "swallow"), Unit(1)])
    numbers = SettingsChange(lease=0.2, grace=0.1, cancel_grace=0.1)
    worker = crew.start(store.setting(numbers=numbers, timeout=0.1))
    worker.wait_for("TaskEnded", "done")
    until = store.query("SELECT lease_until FROM task WHERE state = 4")
    wait_until(
        lambda: store.query("SELECT lease_until FROM task WHERE state = 4") != until,
        15.0,
        "the lease is renewed",
    )

    assert broken(store, crew, extra=0)[0] == "task 0 is lost"
    worker.send(signal.SIGTERM)
    assert worker.wait(10.0) == STUCK
