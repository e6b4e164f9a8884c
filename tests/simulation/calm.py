"""The rules about time: what must happen soon, once nothing goes wrong any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from layered.task import Lease

if TYPE_CHECKING:
    from tests.simulation.world import World

POLL = 1.2
"""Seconds: the longest interval of a poll without hints."""
SLACK = 0.1
"""Seconds: what a rule about time leaves to resolution and to turns of the loop."""


class Calm:
    """
    Whether all faults are over, and what is expected from then on.

    Args:
        world: Has the ledger and the workers, and is told of each rule that was broken.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: float | None = None
        self._came: dict[str, float] = {}
        self._leased: dict[str, tuple[float, str]] = {}
        self._full_at = 0.0
        self._was_full = False
        self.all_ended = trio.Event()

    def begin(self) -> None:
        """Expect from now on that everything goes well."""
        self._since = trio.current_time()
        self.look()

    def look(self) -> None:
        """Note whether any worker has room, and whether all tasks have ended."""
        full = not any(shift.has_room for shift in self._world.shifts.values())
        if full or self._was_full:
            self.excuse_until(trio.current_time())
        self._was_full = full
        if self._since is not None and not self.open_tasks():
            self.all_ended.set()

    def open_tasks(self) -> list[str]:
        """List the tasks that have not ended and that somebody handles."""
        ledger, names = self._world.ledger, self._world.store.kinds.by_name
        return [
            one
            for one, row in ledger.rows.items()
            if not row.status.is_terminal and ledger.drafts[one].name in names
        ]

    def excuse_until(self, instant: float) -> None:
        """Expect no claim before *instant*."""
        self._full_at = max(self._full_at, instant)

    def came(self, one: str) -> None:
        """Note that a task waits for a worker from now on."""
        self._came[one] = trio.current_time()

    def leased(self, lease: Lease, process: str) -> None:
        """Check that a task was not left lying while a worker had room for it."""
        self._leased[lease.id] = trio.current_time(), process
        self.look()
        if self._since is None:
            return
        came = self._came[lease.id]
        due = self._world.by_the_loop(lease.due_at)
        waited = trio.current_time() - max(due, came, self._since, self._full_at)
        hinted = not self._world.faults.deaf and came > self._since
        if waited > (0.0 if hinted else POLL) + SLACK:
            self._world.broken(f"{lease.id} waited {waited:.3f} s for a worker that had room")

    def lost(self, one: str) -> None:
        """Check that no lease of these times ends whose worker is alive."""
        leased, owner = self._leased[one]
        if self._since is None or leased < self._since:
            return
        for shift in self._world.shifts.values():
            if shift.process.name == owner and shift.is_alive:
                self._world.broken(f"{owner} lost {one} though it is alive")
