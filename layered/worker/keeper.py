"""
The lease keeper: renews what is in flight, from claim to durable settle.

For durable backends it runs in a thread with a loop and a connection of
its own, so that a handler that blocks the event loop loses no lease. For
the others, and under virtual time, the same coroutine runs in the loop.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial

import anyio
import anyio.to_thread

from layered.backend import Backend, Renew, Renewal, Renews
from layered.errors import BackendClosed
from layered.service.clock import loop_clock, loop_poster
from layered.task import CancelReason, Lease
from layered.worker.events import BackendTroubled, Bus
from layered.worker.flight import Flight

log = logging.getLogger("layered.worker")

BATCH = 500


class Keeper:
    """
    Renews leases each third of *lease*, and cancels the runs that lost theirs.

    Args:
        backend: The store.
        flight: What to renew.
        lease: Seconds.
        bus: Is told when renewing fails.
    """

    __slots__ = ("_backend", "_bus", "_flight", "_lease", "_stop", "clock")

    def __init__(self, backend: Backend, flight: Flight, lease: float, bus: Bus) -> None:
        self._backend = backend
        self._flight = flight
        self._lease = lease
        self._bus = bus
        self._stop: Callable[[], object] = lambda: None
        self.clock = time.monotonic if backend.threaded_keeper else loop_clock()

    @property
    def margin(self) -> float:
        """Seconds before the lease's end at which a handler is cancelled locally."""
        return self._lease / 6

    def ends(self, asked: float) -> float:
        """Answer when a lease that was asked for at *asked* must be given up."""
        return asked + self._lease - self.margin

    def stop(self) -> None:
        """Let `run` end soon."""
        self._stop()

    async def run(self) -> None:
        """
        Keep until stopped.

        Cancellation:
            A thread that does not come back from the store is left to itself.
        """
        post = loop_poster()
        if not self._backend.threaded_keeper:
            with anyio.CancelScope() as scope:
                self._stop = scope.cancel
                await self._keep(self._backend, lambda work: work())
            return
        stop_early = threading.Event()
        self._stop = stop_early.set

        async def main() -> None:
            wake = loop_poster()
            with anyio.CancelScope() as scope:  # ends a renewal, too, that waits for the store
                self._stop = lambda: wake(scope.cancel)
                if not stop_early.is_set():
                    await self._keep_connected(post)

        limiter = anyio.CapacityLimiter(1)
        try:
            await anyio.to_thread.run_sync(anyio.run, main, limiter=limiter, abandon_on_cancel=True)
        finally:
            self._stop()  # whoever cancels this leaves no thread behind that renews

    async def _keep_connected(self, post: Callable[[Callable[[], object]], object]) -> None:
        """Keep with a connection of this thread's own, opened again until that succeeds."""
        while True:
            try:
                async with self._backend.keeper() as renews:
                    await self._keep(renews, post)
                    return
            except Exception as error:  # noqa: BLE001 - whatever a driver raises is waited out
                wait = self._lease / 20
                log.warning("opening the keeper's connection failed: %s", error)
                post(partial(self._bus.emit, BackendTroubled("keeper", error, wait)))
                await anyio.sleep(wait)

    async def _keep(self, renews: Renews, post: Callable[[Callable[[], object]], object]) -> None:
        wait = self._lease / 3
        while True:
            await anyio.sleep(wait * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
            try:
                await self.renew_all(renews, post)
                wait = self._lease / 3
            except BackendClosed:
                return
            except Exception as error:  # noqa: BLE001 - whatever a driver raises is waited out
                wait = self._lease / 20
                log.warning("renewing %d leases failed: %s", len(self._flight), error)
                post(partial(self._bus.emit, BackendTroubled("renew", error, wait)))

    async def renew_all(
        self, renews: Renews, post: Callable[[Callable[[], object]], object]
    ) -> None:
        """Renew everything in flight once; *post* runs a callable in the worker's loop."""
        runs = self._flight.snapshot()
        for start in range(0, len(runs), BATCH):
            batch = [(run, run.record) for run in runs[start : start + BATCH]]
            leased = [(run, record) for run, record in batch if isinstance(record, Lease)]
            asked = self.clock()
            answers = await renews.renew(
                [Renew(record.fence, run.attempt) for run, record in leased], self._lease
            )
            for (run, _), answer in zip(leased, answers, strict=True):
                if answer is Renewal.STALE:
                    post(partial(run.cancel, CancelReason.LEASE_LOST))
                    continue
                run.lease_ends = self.ends(asked)
                if answer is Renewal.CANCEL:
                    post(partial(run.cancel, CancelReason.USER))

    async def renew_here(self) -> None:
        """Renew once in the worker's loop: memory does it before it reaps."""
        await self.renew_all(self._backend, lambda work: work())
