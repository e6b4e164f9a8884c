"""The fetcher: claims what can start now, and no more."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from layered.backend import Backend, Claimant, Claimed, Poll
from layered.errors import BackendClosed, Fatal, Full
from layered.service import Service
from layered.task import Status
from layered.worker.events import BackendTroubled, Bus
from layered.worker.flight import Flight
from layered.worker.keeper import Keeper
from layered.worker.meaning import Meaning, meaning_of, stray
from layered.worker.pool import Pool
from layered.worker.states import Machine, State

log = logging.getLogger("layered.worker")

SHORTEST = 0.001
"""Seconds to back off when a service was ready and had no capacity after all; doubles."""
LONGEST = 3.0
"""Most seconds between claims that fail; doubles up to there, so that recovery takes no longer."""
FULL = 60.0
"""The same for a store without room: somebody has to make some first."""


class Until(Enum):
    """When a fetcher ends by itself."""

    STOPPED = "stopped"
    """Never."""
    BURST = "burst"
    """When a claim made with nothing in flight answers nothing: future tasks stay."""
    EMPTY = "empty"
    """When no live task of its names is left, future and running elsewhere included."""


class Fetcher:
    """
    One fetch turn after the other: a free consumer, a ready service, a hint, a claim.

    Args:
        backend: Where to claim.
        claimant: As whom.
        capacities: Asks the handler how many tasks of each name could start now.
        service: The stack; asked for readiness and capacity.
        batch: Most tasks of one claim.
    """

    def __init__(
        self,
        backend: Backend,
        claimant: Claimant,
        capacities: Callable[[], Mapping[str, int]],
        service: Service[Any, Any],
        batch: int,
    ) -> None:
        self._backend = backend
        self._claimant = claimant
        self._capacities = capacities
        self._service = service
        self._batch = batch
        self._scope = anyio.CancelScope()
        self._claiming = False
        self._stopping = False
        self.held_back = False
        """Whether the last claim left out a name that had no capacity."""
        self.poll = Poll(backend)

    def stop(self) -> None:
        """End soon. A claim on its way is waited for, so that its leases are known."""
        self._stopping = True
        if not self._claiming:
            self._scope.cancel()

    def abandon(self) -> None:
        """End at once; the leases of a claim on its way end by themselves."""
        self._stopping = True
        self._scope.cancel()

    async def run(
        self, pool: Pool, flight: Flight, keeper: Keeper, machine: Machine, bus: Bus, until: Until
    ) -> None:
        """
        Fetch until stopped, or until the work is done.

        Raises:
            Fatal: if the store cannot be used any more.
            BackendClosed: if it was closed.
        """
        trouble, short = 0.0, SHORTEST
        with self._scope, self.poll.listening():
            while not self._stopping:
                await pool.freed()
                while flight.free <= 0:
                    await flight.changed()
                if machine.state is State.PAUSED:
                    await machine.reach(State.RUNNING)
                try:
                    await self._service.ready()
                    await self.poll.wait()
                    most = self._most(pool, flight)
                    wanted = self._wanted(pool)
                    if most <= 0 or not wanted or machine.state is not State.RUNNING:
                        await anyio.sleep(short)
                        short = min(short * 2, self._backend.poll)
                        continue
                    short = SHORTEST
                    quiet = not len(flight) and not self.held_back
                    asked = keeper.clock()
                    claimed = await self._claim(wanted, most)
                    if claimed.leases:
                        pool.add(claimed.leases, keeper.ends(asked))
                    if claimed.leases or claimed.more:  # consumers first; a break every turn
                        await checkpoint()
                    elif quiet and await self._done(until, claimed):
                        return
                    trouble = 0.0
                except (Fatal, BackendClosed):
                    raise
                except BaseException as error:  # noqa: BLE001 - judged, and waited out
                    longest = FULL if isinstance(error, Full) else LONGEST
                    trouble = min(max(trouble * 2, 0.05), longest)
                    await self._wait_out(error, trouble, bus)

    async def _wait_out(self, error: BaseException, delay: float, bus: Bus) -> None:
        if not isinstance(error, Exception):
            if meaning_of(error) is not Meaning.STRAY:
                raise error
            error = stray(error, "a layer's ready()")
        log.warning("fetching from queue %r failed: %r", self._claimant.queue, error)
        bus.emit(BackendTroubled("claim", error, delay))
        if not self._stopping:  # told during the claim, when the scope was left alone
            await anyio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load

    def _most(self, pool: Pool, flight: Flight) -> int:
        # What was claimed and has not begun will take its place in the stack yet.
        room = self._service.capacity() - len(pool.waiting)
        return min(pool.free, room, self._batch, flight.free)

    def _wanted(self, pool: Pool) -> Mapping[str, int]:
        waiting = Counter(run.record.name for run in pool.waiting)
        capacities = self._capacities()
        wanted = {name: n - waiting[name] for name, n in capacities.items() if n > waiting[name]}
        self.held_back = len(wanted) < len(capacities)
        return wanted

    async def _claim(self, wanted: Mapping[str, int], most: int) -> Claimed:
        """Claim; `stop` leaves the fetcher alone meanwhile, which is cheaper than a shield."""
        self._claiming = True
        self.poll.begin()
        try:
            claimed = await self._backend.claim(self._claimant, wanted, most)
        except BaseException:
            self.poll.hint()  # the hint that led here still stands
            raise
        finally:
            self._claiming = False
        self.poll.end(claimed)
        return claimed

    async def _done(self, until: Until, claimed: Claimed) -> bool:
        if until is Until.BURST:
            return True
        if until is Until.STOPPED or claimed.next_due_in is not None:
            return False
        counts = await self._backend.counts(self._claimant.queue)
        return not any(
            number
            for name in self._capacities()
            for status, number in counts.get(name, {}).items()
            if status in _COMING
        )


_COMING = (Status.SCHEDULED, Status.RETRY, Status.READY, Status.RUNNING)
