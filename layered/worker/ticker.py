"""The ticker: one task that cancels what is past its deadline or its lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from layered.task import NEVER, CancelReason, Run
from layered.worker.flight import Flight

RESOLUTION = 0.01
"""Seconds: how late a deadline may be noticed; also keeps virtual time from standing still."""


class Ticker:
    """
    Cancels runs past their deadline or their lease.

    Parked while nothing is in flight; otherwise it sleeps to the earliest
    limit, and never longer than *step*, the shortest limit that a run can
    start with: so one that starts during a sleep cannot be due before its end.

    Args:
        flight: The runs to watch.
        clock: The loop's clock, of `Run.deadline`.
        lease_clock: The clock of `Run.lease_ends`.
        step: Seconds; most to sleep while something is in flight.
    """

    __slots__ = ("_clock", "_flight", "_lease_clock", "_parked", "_step", "_wake")

    def __init__(
        self,
        flight: Flight,
        clock: Callable[[], float],
        lease_clock: Callable[[], float],
        step: float,
    ) -> None:
        self._flight = flight
        self._clock = clock
        self._lease_clock = lease_clock
        self._step = step
        self._wake = anyio.Event()
        self._parked = True

    def watch(self, runs: Sequence[Run], lease_ends: float) -> None:
        """Watch *runs*, which are in flight; what was claimed too slowly is not to start."""
        over = lease_ends <= self._lease_clock()
        for run in runs:
            run.lease_ends = lease_ends
            if over:
                run.cancel(CancelReason.LEASE_LOST)
        if self._parked:
            self._parked = False
            self._wake.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            if not len(self._flight):
                self._parked = True
                self._wake = anyio.Event()
                await self._wake.wait()
            await anyio.sleep(max(RESOLUTION, min(self._step, self._remaining())))

    def _remaining(self) -> float:
        """Cancel what is overdue; answer the seconds to the earliest limit."""
        now, lease_now = self._clock(), self._lease_clock()
        earliest = NEVER
        for run in self._flight.snapshot():
            if run.deadline <= now:
                run.cancel(CancelReason.DEADLINE)
            elif run.lease_ends <= lease_now:
                run.cancel(CancelReason.LEASE_LOST)
            elif run.reason is None:
                earliest = min(earliest, run.deadline - now, run.lease_ends - lease_now)
        return earliest
