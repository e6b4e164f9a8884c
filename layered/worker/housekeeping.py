"""Housekeeping: every worker reaps lost tasks, prunes ended ones, and reports unknown names."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Collection

import anyio

from layered.backend import Backend
from layered.errors import BackendClosed
from layered.worker.events import BackendTroubled, Bus, NamesUnknown, TaskReaped
from layered.worker.keeper import Keeper

log = logging.getLogger("layered.worker")

REAP_BATCH = 200
PRUNE_BATCH = 500
PRUNE_EVERY = 60.0
"""Seconds between looks for rows to prune, and for unknown names."""


class Housekeeper:
    """
    Looks after a queue; needs no leader, since every step is one conditional write.

    Args:
        backend: The store.
        keeper: Renews this worker's own leases first, where it runs in the loop.
        names: The names that this worker handles.
        queue: The queue.
        lease: Seconds; reaps about each half of it.
    """

    __slots__ = ("_backend", "_bus", "_keeper", "_lease", "_names", "_queue", "_reported")

    def __init__(
        self, backend: Backend, keeper: Keeper, names: Collection[str], queue: str, lease: float
    ) -> None:
        self._backend = backend
        self._keeper = keeper
        self._names = frozenset(names)
        self._queue = queue
        self._lease = lease
        self._reported: set[str] = set()

    async def run(self, bus: Bus) -> None:
        """Reap and prune until cancelled; trouble with the store is told and waited out."""
        pruned_at = -PRUNE_EVERY
        while True:
            try:
                await self._reap(bus)
                if anyio.current_time() >= pruned_at + PRUNE_EVERY:
                    pruned_at = anyio.current_time()
                    await self._report(bus)
                    await self._prune()
            except BackendClosed:
                return
            except Exception as error:  # noqa: BLE001 - whatever a driver raises is waited out
                log.warning("housekeeping of queue %r failed: %s", self._queue, error)
                bus.emit(BackendTroubled("housekeeping", error, self._lease / 2))
            await anyio.sleep(self._lease / 2 * random.uniform(0.5, 1.5))  # noqa: S311

    async def _prune(self) -> None:
        """Prune in small batches, with pauses for others who write."""
        changed = PRUNE_BATCH
        while changed >= PRUNE_BATCH:
            changed = await self._backend.prune(PRUNE_BATCH)
            await anyio.sleep(0.05)

    async def _reap(self, bus: Bus) -> None:
        if not self._backend.threaded_keeper:
            await self._keeper.renew_here()
        while True:
            reaped = await self._backend.reap(REAP_BATCH)
            if reaped:
                states = Counter(one.status.label for one in reaped)
                now = ", ".join(f"{number} now {state}" for state, number in states.items())
                log.warning("took %d tasks from lost workers: %s", len(reaped), now)
            for task_id, name, status in reaped:
                bus.emit(TaskReaped(task_id, name, status))
            if len(reaped) < REAP_BATCH:
                return

    async def _report(self, bus: Bus) -> None:
        """Tell once of each name that is ready in the queue and that nobody here handles."""
        new = set(await self._backend.names(self._queue)) - self._names - self._reported
        if new:
            self._reported |= new
            log.warning(
                "queue %r has ready tasks that this worker does not handle: %s",
                self._queue,
                ", ".join(sorted(new)),
            )
            bus.emit(NamesUnknown(self._queue, sorted(new)))
