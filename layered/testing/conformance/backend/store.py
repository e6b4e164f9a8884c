"""The store under test, as the rules speak of it: short words, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import attrs
from typing_extensions import TypedDict, Unpack

from layered.backend import (
    Answer,
    Cancelled,
    Cancels,
    Claimant,
    Claimed,
    Dead,
    Dedups,
    Done,
    Ending,
    Failure,
    Limits,
    Lists,
    Pauses,
    Pushed,
    Reaped,
    Record,
    Release,
    Remembers,
    Renew,
    Reports,
    Requeues,
    Retry,
    Sees,
    Settle,
    Storage,
)
from layered.task import Dedup, Draft, Lease, new_id
from layered.testing.conformance.backend.clock import Clock
from layered.testing.conformance.rule import RuleBroken, equal

Make: TypeAlias = Callable[[Clock, Limits], Storage[Any]]
"""Makes a new, empty storage that goes by this clock and keeps these limits."""


@runtime_checkable
class Copies(Protocol):
    """What a maker has besides, if its storages can be copied: for rules of lost commits."""

    async def copy(self, storage: Storage[Any], now: Clock, limits: Limits, /) -> Storage[Any]:
        """Make a storage that has all that *storage*, which is open, has at this moment."""
        ...


@runtime_checkable
class Effects(Protocol):
    """What the maker of `Transactional` storages has besides: a change of the user's own."""

    def effect(self, error: Exception | None, /) -> object:
        """Make what `settle_in` takes: it stores one effect, and then raises *error*, if any."""
        ...

    async def effects(self, storage: Storage[Any], /) -> int:
        """Count the effects that are stored."""
        ...


class Controls(Cancels, Requeues, Lists, Pauses, Sees, Reports, Remembers, Dedups, Protocol):
    """All that a storage may be able to do besides: a rule uses what it says that it needs."""


ME = Claimant("default", "me")
LOST = Claimant("default", "lost", lease=0.0)
"""A claimant whose leases end at once: what it claims can be reaped."""
FAILURE = Failure("ValueError", "no", "in handler")
ENDINGS: Mapping[str, Ending] = {
    "done": Done(b"1"),
    "retry": Retry(FAILURE, 5.0),
    "dead": Dead(FAILURE),
    "cancelled": Cancelled(),
}


class Fields(TypedDict, total=False):
    """What a rule may say of a task; the rest does not matter to it."""

    id: str
    queue: str
    name: str
    payload: bytes
    codec: str
    version: int
    metadata: Mapping[str, str]
    priority: int
    delay: float
    at: datetime
    expires_at: datetime
    max_attempts: int
    max_lost: int
    dedup: Dedup


def draft(**fields: Unpack[Fields]) -> Draft:
    """Make a task to push: of the name "a", in the queue "default"."""
    return Draft(new_id(), "default", "a", b"1")._replace(**fields)


def done(lease: Lease, result: bytes | None = b"null") -> Settle:
    """Make the settle of a run that ended well."""
    return Settle(lease.fence, Done(result), lease.attempt)


def ends(lease: Lease, ending: Ending, attempt: int = 1) -> Settle:
    """Make the settle of a run that ended in any way."""
    return Settle(lease.fence, ending, attempt)


def told(answer: Answer) -> str:
    """Put an answer into words."""
    state = "" if answer.status is None else f" {answer.status.label}"
    return f"{answer.verdict.value}{state}"


def unchanged(before: Record, now: Record, what: str) -> None:
    """Fail if a task is not what it was."""
    was, found = (attrs.asdict(record, recurse=False) for record in (before, now))
    changes = {name: (was[name], found[name]) for name in was if was[name] != found[name]}
    equal(changes, {}, f"what {what} changed in the task")


@contextmanager
def raises(kind: type[Exception], what: str) -> Iterator[None]:
    """Fail if the block does not raise an error of that kind."""
    try:
        yield
    except kind:
        return
    msg = f"{what} raised nothing, must raise {kind.__name__}"
    raise RuleBroken(msg)


@attrs.frozen
class Store:
    """A new storage under test, the clock that it goes by, and its maker."""

    storage: Storage[Any]
    clock: Clock
    make: Make

    @property
    def control(self) -> Controls:
        """The storage, as a rule of `rule_of` may use it."""
        return cast("Controls", self.storage)

    async def push(self, *drafts: Draft) -> Sequence[Pushed]:
        """Insert tasks, in one call."""
        return list(await self.storage.insert(drafts))

    async def claimed(
        self, claimant: Claimant = ME, most: int = 10, names: Sequence[str] = "ab"
    ) -> Claimed:
        """Claim tasks, and give the whole answer."""
        return await self.storage.claim(claimant, dict.fromkeys(names, most), most)

    async def claim(
        self, claimant: Claimant = ME, most: int = 10, names: Sequence[str] = "ab"
    ) -> Sequence[Lease]:
        """Claim tasks, and give the leases."""
        return list((await self.claimed(claimant, most, names)).leases)

    async def lease(self, claimant: Claimant = ME) -> Lease:
        """Claim the only task that there is to claim."""
        leases = await self.claim(claimant)
        equal(len(leases), 1, "the number of tasks claimed")
        return leases[0]

    async def running(self, claimant: Claimant = ME, **fields: Unpack[Fields]) -> Lease:
        """Push a task and claim it."""
        await self.push(draft(**fields))
        return await self.lease(claimant)

    async def renew(self, *items: Renew, seconds: float = 30.0) -> Sequence[str]:
        """Renew leases, in one call: "ok", "cancel" or "stale" each."""
        return [answer.value for answer in await self.storage.renew(items, seconds)]

    async def settle(self, *items: Settle) -> Sequence[str]:
        """Settle runs, in one call: "applied done", "already retry", "stale" or so each."""
        return [told(answer) for answer in await self.storage.settle(items)]

    async def release(self, *items: Release) -> Sequence[str]:
        """Release runs, in one call; answers as for `settle`."""
        return [told(answer) for answer in await self.storage.release(items)]

    async def reap(self, limit: int = 10) -> Sequence[Reaped]:
        """Take tasks from lost workers."""
        return list(await self.storage.reap(limit))

    async def read(self, task_id: str) -> Record:
        """Read a task that must be there."""
        (record,) = await self.read_all(task_id)
        return record

    async def read_all(self, *ids: str) -> Sequence[Record]:
        """Read tasks that must be there."""
        records = await self.storage.fetch(ids)
        equal(len(records), len(ids), "the number of answers to a fetch")
        found = [record for record in records if record is not None]
        equal(len(found), len(ids), "the number of tasks found by fetch")
        return found
