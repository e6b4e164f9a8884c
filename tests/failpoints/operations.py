"""
The operations of a backend, each on the same prepared tasks: a new one is one line.

Those of control are in `control_operations`. Nothing here or there knows
SQLite: another backend brings its own faults.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from layered.backend import (
    ALREADY,
    APPLIED,
    Beat,
    Cancelled,
    Cancels,
    Claimant,
    Dead,
    Done,
    Ending,
    Failure,
    Limits,
    Pauses,
    Pushed,
    Release,
    Remembers,
    Renew,
    Renewal,
    Retry,
    Sees,
    Settle,
    Storage,
)
from layered.task import Dedup, Draft, Fence, Kind, Status, from_micros

KINDS = (Kind(str, name="a"), Kind(int, name="b"))
LIMITS = Limits(keep_done=100.0, keep_dead=100.0, tombstone=1000.0)
ME = Claimant("default", "me")
FAILURE = Failure("ValueError", "no", "in handler")
RAN = Done(b"1")
EVERY = {"a": 100, "b": 100, "other": 100}


class Clock:
    """Both clocks of a store: they stand still until they are moved."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def __call__(self) -> float:
        """Answer seconds."""
        return self.at


Fences: TypeAlias = Mapping[str, Fence]


def task(number: int) -> str:
    """Make the id of the task of this number."""
    return f"018bcfe5-6800-7000-8000-{number:012x}"


def draft(number: int, name: str = "a", **fields: Any) -> Draft:
    """Make a task to insert."""
    return Draft(
        **{"id": task(number), "queue": "default", "name": name, "payload": b"1", **fields}
    )


async def prepare(storage: Storage[Any], clock: Clock) -> Fences:
    """Fill a store with a task of each kind that an operation may meet; answer the live fences."""
    await _end(storage, clock, draft(1, dedup=Dedup("gone")), ago=5000.0)
    await _end(storage, clock, draft(2, dedup=Dedup("old")), ago=500.0)
    await _end(storage, clock, draft(3), ago=5.0)
    await _end(storage, clock, draft(4, dedup=Dedup("free")), Dead(FAILURE), ago=5.0)
    await _end(storage, clock, draft(6, dedup=Dedup("free")), ago=4.0)
    await _end(storage, clock, draft(5, dedup=Dedup("held")), Cancelled(), ago=5.0)
    await storage.insert([draft(11), draft(12, max_lost=1), draft(13, "b", max_attempts=1)])
    await storage.claim(Claimant("default", "lost", lease=1.0), EVERY, 100)
    await storage.insert([draft(number, metadata={"k": "v"}) for number in range(20, 29)])
    leases = (await storage.claim(Claimant("default", "me", lease=1000.0), EVERY, 100)).leases
    await storage.insert(
        [
            draft(31, delay=5.0),
            draft(32, delay=5000.0),
            draft(33, expires_at=from_micros(int((clock.at + 5.0) * 1e6))),
            draft(34, "b"),
            draft(35, priority=9),
            draft(36, "other"),
            draft(37, "other", dedup=Dedup("held")),
        ]
    )
    await prepare_control(storage, {lease.id: lease.fence for lease in leases})
    clock.at += 10.0
    return {lease.id: lease.fence for lease in leases}


async def _end(
    storage: Storage[Any], clock: Clock, one: Draft, ending: Ending = RAN, *, ago: float
) -> None:
    assert isinstance(storage, Remembers)
    clock.at -= ago
    await storage.insert([one])
    (lease,) = (await storage.claim(ME, EVERY, 1)).leases
    await storage.checkpoint(lease.fence, "step", b"1")
    await storage.settle([Settle(lease.fence, ending, 1)])
    clock.at += ago


async def prepare_control(storage: Storage[Any], fences: Fences) -> None:
    """Keep a step of a run, ask another to stop, pause a queue, and be seen."""
    assert isinstance(storage, Cancels)
    assert isinstance(storage, Pauses)
    assert isinstance(storage, Sees)
    assert isinstance(storage, Remembers)
    await storage.checkpoint(fences[task(21)], "step", b"1")
    await storage.cancel([task(28)])
    await storage.pause("paused", None)
    await storage.beat(Beat("me", "default", b"{}", 10.0))
    await storage.beat(Beat("you", "default", b"{}", 10.0))


async def insert(storage: Storage[Any], _: Fences) -> object:
    """Push two tasks, one of them for later."""
    return await storage.insert([draft(101, payload=b"x" * 9000), draft(102, "b", delay=60.0)])


async def claim(storage: Storage[Any], _: Fences) -> object:
    """Claim of two names; a task is promoted, another has expired."""
    claimed = await storage.claim(ME, {"a": 10, "b": 10}, 10)
    return [(lease.id, lease.fence.epoch) for lease in claimed.leases]


async def renew(storage: Storage[Any], fences: Fences) -> object:
    """Renew all leases, to a later end."""
    return await storage.renew([Renew(fence, 1) for fence in fences.values()], 2000.0)


async def renew_by_keeper(storage: Storage[Any], fences: Fences) -> object:
    """Open a keeper, and renew all leases."""
    async with storage.keeper() as keeper:
        return await keeper.renew([Renew(fence, 1) for fence in fences.values()], 2000.0)


async def settle(storage: Storage[Any], fences: Fences) -> object:
    """End runs in every way."""
    endings: Sequence[Ending] = (
        Done(b"2"),
        Done(None),
        Retry(FAILURE, 30.0),
        Dead(FAILURE),
        Cancelled(),
    )
    return await storage.settle(
        [Settle(fences[task(20 + at)], ending, 1) for at, ending in enumerate(endings)]
    )


async def settle_done(storage: Storage[Any], fences: Fences) -> object:
    """End many runs well, the usual batch."""
    return await storage.settle([Settle(fence, Done(b"2"), 1) for fence in fences.values()])


async def settle_asked(storage: Storage[Any], fences: Fences) -> object:
    """Fail a run that was asked to stop."""
    return await storage.settle([Settle(fences[task(28)], Retry(FAILURE, 30.0), 1)])


async def release_asked(storage: Storage[Any], fences: Fences) -> object:
    """Give back a run that was asked to stop."""
    return await storage.release([Release(fences[task(28)], 30.0, 1)])


async def release(storage: Storage[Any], fences: Fences) -> object:
    """Give runs back, one of them for later."""
    return await storage.release([Release(fences[task(20 + at)], at * 9.0, 1) for at in range(2)])


async def reap(storage: Storage[Any], _: Fences) -> object:
    """Take back what a worker has lost; it may not run again in two of three cases."""
    return sorted((each.id, each.status) for each in await storage.reap(10))


async def prune(storage: Storage[Any], _: Fences) -> object:
    """Sweep an expired task, strip an ended one, remove another."""
    return await storage.prune(10)


async def fetch(storage: Storage[Any], _: Fences) -> object:
    """Read four tasks, one of them unknown."""
    found = await storage.fetch([task(number) for number in (1, 11, 99, 20)])
    return [record and record.status for record in found]


async def counts(storage: Storage[Any], _: Fences) -> object:
    """Count all."""
    return await storage.counts("default")


async def names(storage: Storage[Any], _: Fences) -> object:
    """List the names."""
    return await storage.names("default")


async def check(storage: Storage[Any], _: Fences) -> object:
    """Look whether all is well."""
    return await storage.check()  # type: ignore[func-returns-value] # None, as it is with no fault


class Operation(NamedTuple):
    """
    One operation, what it answers, and what it answers when it is done again.

    Args:
        run: Does it, on the tasks of `prepare`.
        first: Its answer.
        again: Its answer after a first time that was stored, whoever knows of that.
        parts: Most transactions that change something; each is whole by itself.
    """

    run: Callable[[Storage[Any], Fences], Awaitable[object]]
    first: object
    again: object
    parts: int = 1


ENDS = (Status.DONE, Status.DONE, Status.RETRY, Status.DEAD, Status.CANCELLED)
BACK = (Status.READY, Status.RETRY)
CANCELLED = ([APPLIED[Status.CANCELLED]], [ALREADY[Status.CANCELLED]])
RENEWED = [*[Renewal.OK] * 8, Renewal.CANCEL]
CLAIMED = [(task(35), 1), (task(34), 1), (task(31), 1)]
REAPED = [(task(11), Status.RETRY), (task(12), Status.DEAD), (task(13), Status.DEAD)]
READ = [Status.DONE, Status.RUNNING, None, Status.RUNNING]
COUNTED = {
    "a": {
        Status.DONE: 4,
        Status.DEAD: 1,
        Status.CANCELLED: 1,
        Status.RUNNING: 11,
        Status.SCHEDULED: 2,
        Status.READY: 2,
    },
    "b": {Status.RUNNING: 1, Status.READY: 1},
    "other": {Status.READY: 2},
}

OPERATIONS: Mapping[str, Operation] = {
    "insert": Operation(
        insert,
        [Pushed(task(101)), Pushed(task(102))],
        [Pushed(task(101), Status.READY), Pushed(task(102), Status.SCHEDULED)],
    ),
    "claim": Operation(claim, CLAIMED, []),
    "renew": Operation(renew, RENEWED, RENEWED),
    "keeper's renew": Operation(renew_by_keeper, RENEWED, RENEWED, parts=2),
    "settle": Operation(settle, [APPLIED[end] for end in ENDS], [ALREADY[end] for end in ENDS]),
    "settle of many": Operation(
        settle_done, [APPLIED[Status.DONE]] * 9, [ALREADY[Status.DONE]] * 9
    ),
    "release": Operation(release, [APPLIED[end] for end in BACK], [ALREADY[end] for end in BACK]),
    "settle, asked to stop": Operation(settle_asked, *CANCELLED),
    "release, asked to stop": Operation(release_asked, *CANCELLED),
    "reap": Operation(reap, REAPED, []),
    "prune": Operation(prune, 3, 0, parts=2),
    "fetch": Operation(fetch, READ, READ),
    "counts": Operation(counts, COUNTED, COUNTED),
    "names": Operation(names, ["a", "b", "other"], ["a", "b", "other"]),
    "check": Operation(check, None, None),
}


async def drain(storage: Storage[Any], clock: Clock) -> AsyncIterator[None]:
    """Let every lease end and every task come due, and run them all; stops after each write."""
    clock.at += 10_000.0
    await storage.reap(1000)
    yield
    clock.at += 10_000.0
    leases = (await storage.claim(ME, EVERY, 1000)).leases
    yield
    await storage.settle([Settle(lease.fence, Done(b"3"), lease.attempt) for lease in leases])
    yield
