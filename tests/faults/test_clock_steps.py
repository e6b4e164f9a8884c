"""The wall clock jumps; leases hold, and due times go by it."""

import os
import random
from collections.abc import Callable

import attrs
import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_sqlite
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store import Store
from tests.faults.work import LIMIT, broken, held, stop

pytestmark = on_sqlite

HOUR = 3600.0
HELD = 8
"""Tasks that run all the time."""
STEPS = 10
"""Of the clock, while tasks run that are due."""
FIRST, SECOND = TASKS // 2, TASKS * 3 // 4
"""From these numbers on tasks are due in 2 hours, and in 4."""


@attrs.define
class Clock:
    """Steps the wall clock of two workers that work on everything."""

    store: Store
    crew: Crew

    def step(self, seconds: float) -> None:
        """Set the clock to the right time and so many seconds, at once."""
        new = self.store.folder / "new shift"
        new.write_text(str(seconds))
        os.replace(new, self.store.folder / "shift")  # noqa: PTH105 - the same in two words

    def start(self, storage: str) -> list[WorkerProcess]:
        """Push, and start workers whose clocks are right so far."""
        self.step(0.0)
        self.store.push([Unit(n, "hold") for n in range(HELD)])
        self.store.push([Unit(n, seconds=0.002) for n in range(HELD, FIRST)])
        self.store.push([Unit(n) for n in range(FIRST, SECOND)], delay=2 * HOUR)
        self.store.push([Unit(n) for n in range(SECOND, TASKS)], delay=4 * HOUR)
        numbers = SettingsChange(lease=0.5, concurrency=HELD + 2)
        return [
            self.crew.start(self.store.setting(loop=loop, storage=storage, numbers=numbers))
            for loop in LOOPS
        ]

    def wait_for_done(self, count: int) -> None:
        """Wait until so many tasks are done."""
        wait_until(lambda: self.store.done() >= count, LIMIT, f"{count} tasks done")

    def wait_for_renewals(self) -> None:
        """Wait until all leases that stand have been renewed."""
        # Found by their ends, which are of the monotonic clock.
        ends = "SELECT max(lease_until) FROM task WHERE state = 4"
        since = self.store.count(ends)
        later = "SELECT count(*) FROM task WHERE state = 4 AND lease_until <= ?"
        wait_until(lambda: not self.store.count(later, since), LIMIT, "all leases are renewed")


@pytest.mark.timeout(LIMIT + 30)
def test_steps_of_the_wall_clock_end_no_lease(
    store: Store, crew: Crew, chance: random.Random, report: Callable[[str, str], None]
) -> None:
    """Due tasks start when the clock says so, at once after a step forwards; nothing runs twice."""
    clock = Clock(store, crew)
    clock.start("tests.faults.storages:ShiftedStorage")

    clock.wait_for_done(FIRST // 4)
    for _ in range(STEPS):
        clock.step(chance.uniform(-24, 1) * HOUR)
        clock.wait_for_renewals()
    clock.wait_for_done(FIRST - HELD)
    begun_early = [n for n in store.runs() if n >= FIRST]
    clock.step(3 * HOUR)
    clock.wait_for_done(SECOND - HELD)
    begun_early += [n for n in store.runs() if n >= SECOND]
    clock.step(-24 * HOUR)
    clock.wait_for_renewals()
    clock.step(5 * HOUR)
    clock.wait_for_done(TASKS - HELD)
    store.ledger.gate(1).touch()
    clock.wait_for_done(TASKS)
    stop(crew)

    assert begun_early == []
    assert {row.lost for row in store.rows().values()} == {0}
    assert broken(store, crew, extra=0) == []
    report(
        "wall clock stepped",
        f"{held(store)}; {STEPS + 3} steps of up to 29 hours both ways, leases lost 0, "
        f"begun early {len(begun_early)}",
    )


@pytest.mark.timeout(LIMIT + 30)
def test_the_check_finds_leases_by_the_wall_clock(
    store: Store, crew: Crew, chance: random.Random
) -> None:
    """A step then ends all leases at once."""
    clock = Clock(store, crew)
    clock.start("tests.faults.faulty:WallLeases")
    clock.wait_for_done(FIRST // 4)

    def reaped() -> bool:
        clock.step(chance.uniform(-24, 1) * HOUR)
        return store.reaped() > 0

    wait_until(reaped, LIMIT, "leases are lost")

    assert {row.lost for row in store.rows().values()} != {0}
