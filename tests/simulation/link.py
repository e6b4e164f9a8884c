"""`Link`: the real storage as one process reaches it, with everything that may go wrong between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

import trio

from layered.backend import (
    Answer,
    Claimant,
    Claimed,
    Limits,
    Pushed,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Settle,
    Storage,
)
from layered.errors import BackendBroken, Transient
from layered.task import Draft, Fence, Status
from tests.simulation.faults import NONE, Fault
from tests.simulation.jobs import Chore, Job
from tests.simulation.scheduling import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")


class Link(Storage[Job]):
    """
    A storage that hands every operation on to the one store of its world.

    What was applied is shown to the world's ledger at once, before anything
    else can run: also where the caller will never hear of it.

    Args:
        world: Has the store, the faults and the ledger.
        process: Whose link it is.
    """

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(Job | Chore, world.store.queue, (), Limits())
        self._world = world
        self._process = process
        self.leases: dict[Fence, float] = {}
        """What was claimed here, and whose end was not sent yet: how long the process had stood
        still by the time of the answer."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hand on the store's hints, as far as they get through."""
        with self._world.store.pushed.listening(self._hinted):
            yield

    def _hinted(self) -> None:
        fault = self._world.faults.of_hint()
        if fault is not NONE:
            self._world.note(self._process.name, "fault", "hint", *fault)
        if fault.kind == "late":
            self._world.later(fault.seconds, self.pushed.notify)
        elif fault.kind != "lost":
            self.pushed.notify()
            if fault.kind == "twice":
                self.pushed.notify()

    async def _do(self, operation: str, work: Callable[[], Awaitable[T]], *sent: Any) -> T:
        """Send an operation, have it applied, and answer; or not."""
        fault = self._world.faults.of_operation()
        if fault is not NONE:
            self._world.note(self._process.name, "fault", operation, *fault)
        await self._arrive(fault)
        answer = await work()
        with self._world.checking():
            self._world.ledger.observe(operation, self._process, sent, answer)
        if fault.kind == "lag":
            await trio.sleep(fault.seconds)
        if fault.kind == "lose" or self._process.severed:
            msg = "the answer was lost"
            raise BackendBroken(msg)
        return answer

    async def _arrive(self, fault: Fault) -> None:
        if fault.kind == "slow":
            await trio.sleep(fault.seconds)
        if self._process.severed or trio.current_time() < self._process.cut_until:
            msg = "the store cannot be reached"
            raise BackendBroken(msg)
        if fault.kind == "fail":
            msg = "not now"
            raise Transient(msg)
        if fault.kind == "odd":
            msg = "no backend should raise this"
            raise OSError(msg)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[Pushed]:
        return await self._do("insert", lambda: self._world.store.insert(drafts), drafts)

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        store = self._world.store
        work = lambda: store.claim(claimant, wanted, most)  # noqa: E731 - as its neighbours
        claimed = await self._do("claim", work, claimant, wanted, most)
        self.leases.update((one.fence, self._process.stood_still) for one in claimed.leases)
        return claimed

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        store = self._world.store
        return await self._do("renew", lambda: store.renew(items, lease), items, lease)

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        self._forget(items)
        return await self._do("settle", lambda: self._world.store.settle(items), items)

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        self._forget(items)
        return await self._do("release", lambda: self._world.store.release(items), items)

    def _forget(self, items: Sequence[Settle | Release]) -> None:
        for item in items:
            self.leases.pop(item.fence, None)
            self._world.watch.sends(item.fence, item.attempt)

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        return await self._do("reap", lambda: self._world.store.reap(limit), limit)

    async def fetch(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        return await self._do("fetch", lambda: self._world.store.fetch(ids))

    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        return await self._do("counts", lambda: self._world.store.counts(queue))

    async def names(self, queue: str, /) -> Sequence[str]:
        return await self._do("names", lambda: self._world.store.names(queue))

    async def prune(self, limit: int, /) -> int:
        return await self._do("prune", lambda: self._world.store.prune(limit), limit)

    async def check(self) -> None:
        await self._do("check", self._world.store.check)
