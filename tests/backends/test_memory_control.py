"""What control operations leave behind in memory: nothing that grows, and the order of claims."""

import gc
import random
from datetime import UTC, datetime

import pytest

from layered import MemoryStorage
from layered.backend import SCANNED, Claimant, Done, Filter, Limits, Settle
from layered.backends.memory.rows import Row
from layered.task import Dedup, Draft, OnConflict, Status, new_id

ME = Claimant("default", "me")
YEAR = 365 * 24 * 3600.0
FEW = 50


def draft(delay: float = 0.0, dedup: Dedup | None = None) -> Draft:
    """Make a task."""
    return Draft(new_id(), "default", "int", b"1", delay=delay, dedup=dedup)


async def finish(storage: MemoryStorage[int]) -> None:
    """Claim whatever is due, and end it."""
    leases = (await storage.claim(ME, {"int": 100}, 100)).leases
    await storage.settle([Settle(lease.fence, Done(None), 1) for lease in leases])


def rows() -> int:
    """Count the rows that this process still holds."""
    gc.collect()
    return sum(type(each) is Row for each in gc.get_objects())


@pytest.mark.parametrize("delay", [0.0, YEAR])
async def test_memory_lets_go_of_cancelled_tasks(delay: float) -> None:
    """Also of those that would not have come up for a year."""
    storage, before = MemoryStorage(int, keep=10), rows()
    for _ in range(50):
        pushed = await storage.insert([draft(delay) for _ in range(20)])
        await storage.cancel([one.id for one in pushed])

    assert rows() - before < FEW


async def test_memory_lets_go_of_replaced_tasks() -> None:
    """A task that is put off again and again takes the room of one."""
    storage, before = MemoryStorage(int), rows()
    for _ in range(1000):
        await storage.insert([draft(YEAR, Dedup("key", OnConflict.REPLACE))])

    assert rows() - before < FEW


async def test_memory_lets_go_of_expired_tasks() -> None:
    """They end in a sweep, without having come up."""
    storage, before = MemoryStorage(int, keep=10, limits=Limits(tombstone=0.0)), rows()
    for _ in range(50):
        expired = draft(YEAR)._replace(expires_at=datetime(2000, 1, 1, tzinfo=UTC))
        await storage.insert([expired._replace(id=new_id()) for _ in range(20)])
        await storage.prune(100)

    assert rows() - before < FEW


@pytest.mark.parametrize("seed", range(5))
async def test_memory_claims_in_order_whatever_was_cancelled(seed: int) -> None:
    """What is cleared out in between takes nothing else with it."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    storage, start = MemoryStorage(int), datetime.now(UTC).timestamp()
    ranks: dict[str, tuple[int, float, str]] = {}
    for _ in range(200):
        one = draft()._replace(
            priority=chance.randrange(3),
            at=datetime.fromtimestamp(start - chance.randrange(50), UTC),
        )
        await storage.insert([one])
        assert one.at is not None
        ranks[one.id] = (-one.priority, one.at.timestamp(), one.id)
        if chance.random() < 0.7:
            gone = chance.choice([*ranks])
            await storage.cancel([gone])
            del ranks[gone]

    leases = (await storage.claim(ME, {"int": 500}, 500)).leases

    assert [lease.id for lease in leases] == sorted(ranks, key=lambda each: ranks[each])


async def test_memory_gives_up_the_key_of_a_task_that_it_forgets() -> None:
    """Beyond *keep* an ended task goes, and its window with it: else keys would pile up."""
    storage = MemoryStorage(int, keep=1)
    for key in ("one", "two", "two"):
        await storage.insert([draft(dedup=Dedup(key, window=YEAR))])
        await finish(storage)

    holders = [await storage.holder("default", key) for key in ("one", "two")]

    assert [holder is None for holder in holders] == [True, False]


async def test_memory_keeps_a_key_that_another_task_has_taken_over() -> None:
    """The end of what is kept of a task frees nothing that is no longer its own."""
    storage = MemoryStorage(int, keep=1)
    await storage.insert([draft(dedup=Dedup("key"))])
    await finish(storage)
    (second,) = await storage.insert([draft(YEAR, Dedup("key"))])
    await storage.insert([draft(), draft()])
    await finish(storage)

    assert await storage.holder("default", "key") == second.id


async def test_memory_looks_at_a_bounded_part_for_a_page() -> None:
    """A page for which nothing fits ends where it stopped looking."""
    storage = MemoryStorage(int)
    ids = sorted(one.id for one in await storage.insert([draft() for _ in range(SCANNED + 2)]))

    page = await storage.page(Filter(statuses=[Status.DEAD]), None, 5)
    rest = await storage.page(Filter(), page.after, 5)

    assert (list(page.tasks), page.after) == ([], ids[2])
    assert ([task.id for task in rest.tasks], rest.after) == ([ids[1], ids[0]], None)
