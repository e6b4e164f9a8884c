"""How the storage in memory orders and hints, and to which loop it belongs."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from layered import BackendError, MemoryStorage
from layered.backend import Beat, Claimant, Filter
from layered.task import Fence

US = Claimant("default", "us", 5.0)
NOBODY = Fence("id", 1, bytes(16))


@pytest.mark.parametrize("seed", range(5))
async def test_memory_claims_in_order_whatever_the_order_of_pushing(seed: int) -> None:
    """By priority, then due time, then id: also one by one, with pushes in between."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    storage, start = MemoryStorage(int), datetime.now(UTC)
    wanted: list[tuple[int, datetime, str]] = []
    found: list[str] = []

    async def push() -> None:
        priority, age = chance.randrange(10), timedelta(seconds=chance.randrange(1, 20))
        pushed = await storage.push(0, priority=priority, at=start - age)
        wanted.append((-priority, start - age, pushed.id))

    async def claim() -> None:
        claimed = await storage.claim(US, {"int": 1}, 1)
        found.extend(lease.id for lease in claimed.leases)

    for _ in range(30):
        await push()
    for _ in range(10):
        await claim()
    first = sorted(wanted)[:10]
    wanted = sorted(wanted)[10:]
    for _ in range(10):
        await push()
    for _ in range(40):
        await claim()

    assert found == [each[2] for each in [*first, *sorted(wanted)]]


async def test_memory_gives_hints_when_it_reaps() -> None:
    """Of a lost task that may run again somebody wants to know at once, as of one that is dead."""
    storage = MemoryStorage(int, now=lambda: 1e9)
    hints: list[str] = []
    await storage.push(0)
    await storage.claim(Claimant("default", "gone", 0.0), {"int": 1}, 1)

    with (
        storage.pushed.listening(lambda: hints.append("pushed")),
        storage.ended.listening(lambda: hints.append("ended")),
    ):
        reaped = await storage.reap(10)
        again = await storage.reap(10)

    assert (len(reaped), len(again)) == (1, 0)
    assert sorted(hints) == ["ended", "pushed"]


async def test_memory_tells_instants_of_the_wall_clock() -> None:
    """Unless it was given another clock."""
    before = datetime.now(UTC)
    storage = MemoryStorage(int)
    pushed = await storage.push(0)

    record = await storage.get(pushed.id)

    assert record is not None
    assert abs(record.created_at - before) < timedelta(minutes=1)
    assert record.due_at == record.created_at


OPERATIONS: dict[str, Callable[[MemoryStorage[int]], Awaitable[Any]]] = {
    "push": lambda storage: storage.push(0),
    "claim": lambda storage: storage.claim(US, {"int": 1}, 1),
    "renew": lambda storage: storage.renew([], 5.0),
    "settle": lambda storage: storage.settle([]),
    "release": lambda storage: storage.release([]),
    "reap": lambda storage: storage.reap(1),
    "fetch": lambda storage: storage.fetch([]),
    "counts": lambda storage: storage.counts("default"),
    "names": lambda storage: storage.names("default"),
    "prune": lambda storage: storage.prune(1),
    "check": lambda storage: storage.check(),
    "cancel": lambda storage: storage.cancel([]),
    "requeue": lambda storage: storage.requeue([]),
    "page": lambda storage: storage.page(Filter(), None, 1),
    "queues": lambda storage: storage.queues(),
    "pause": lambda storage: storage.pause("default", None),
    "resume": lambda storage: storage.resume("default"),
    "beat": lambda storage: storage.beat(Beat("us", "default", b"", 1.0)),
    "leave": lambda storage: storage.leave("us"),
    "workers": lambda storage: storage.workers(),
    "progress": lambda storage: storage.progress(NOBODY, b""),
    "checkpoint": lambda storage: storage.checkpoint(NOBODY, "step", b""),
    "checkpoints": lambda storage: storage.checkpoints("id"),
    "holder": lambda storage: storage.holder("default", "key"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_memory_refuses_every_operation_on_a_second_event_loop(operation: str) -> None:
    """Its hints would wake nobody there."""
    storage = MemoryStorage(int)

    async def bind() -> None:
        await storage.push(0)

    async def use() -> None:
        with pytest.raises(BackendError, match="belongs to another event loop"):
            await OPERATIONS[operation](storage)

    asyncio.run(bind())
    anyio.run(use)
