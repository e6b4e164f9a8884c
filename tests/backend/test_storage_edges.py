"""What storages refuse besides pushes, and how the one in memory stays small."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from layered import Limits, MemoryStorage, Middleware, Pushed, PushRefused, Status, Task
from layered.backend import Claimant, Claimed, Dead, Failure, Poll, Settle, Signal
from layered.task import Run

US = Claimant("default", "us")


async def test_result_of_a_task_that_is_not_done_is_refused() -> None:
    """The message says what became of it."""
    storage = MemoryStorage(str)
    pushed = await storage.push("hello")
    (lease,) = (await storage.claim(US, {"str": 1}, 1)).leases
    await storage.settle([Settle(lease.fence, Dead(Failure("ValueError", "bad")), 1)])

    record = await storage.get(pushed.id)

    assert record is not None
    with pytest.raises(ValueError, match=rf"task 'str' {pushed.id} is dead: it has no result"):
        record.result_as(str)


async def test_push_of_a_claimed_task_is_refused() -> None:
    """A layer that passes on the task that it runs in has mixed up two stacks."""
    storage = MemoryStorage(str)
    await storage.push("hello")
    (lease,) = (await storage.claim(US, {"str": 1}, 1)).leases

    class Mixing(Middleware[Task[str], Pushed]):
        async def call(self, task: Task[str], /) -> Pushed:
            return await self.inner.call(Task(task.args, Run(lease)))

    mixed = MemoryStorage(str, layers=[Mixing])

    with pytest.raises(PushRefused, match=r"it was claimed by a worker; push its arguments"):
        await mixed.push("hello")


async def test_storage_whose_leases_are_kept_in_the_loop_has_no_keeper() -> None:
    """A worker asks for one only where `threaded_keeper` says so."""
    storage = MemoryStorage(str)

    assert not storage.threaded_keeper
    with pytest.raises(NotImplementedError):
        storage.keeper()


async def test_memory_keeps_a_limited_number_of_ended_tasks() -> None:
    """The oldest go first, without a tombstone."""
    storage = MemoryStorage(str, keep=2)
    ids = [(await storage.push(text)).id for text in "abcd"]
    leases = (await storage.claim(US, {"str": 4}, 4)).leases

    for lease in leases[:3]:
        await storage.settle([Settle(lease.fence, Dead(Failure("ValueError", "bad")), 1)])

    records = await storage.fetch(ids)
    assert [record and record.status for record in records] == [
        None,
        Status.DEAD,
        Status.DEAD,
        Status.RUNNING,
    ]


async def test_memory_claims_nothing_that_was_swept_as_expired() -> None:
    """Its place in the line is out of date by then, and nobody else's."""
    storage = MemoryStorage(str)
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = await storage.push("late", expires_at=past)
    later = await storage.push("hello")
    assert await storage.prune(10) == 1

    claimed = await storage.claim(US, {"str": 5}, 5)

    assert [lease.id for lease in claimed.leases] == [later.id]
    (record,) = await storage.fetch([expired.id])
    assert record is not None
    assert (record.status, record.errors[-1].type) == (Status.DEAD, "expired")


async def test_pushing_without_end_lets_other_tasks_of_the_loop_run() -> None:
    """Nothing in memory ever waits, so a push must give way now and then by itself."""
    storage, turns = MemoryStorage(str), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(64 * 6):
            await storage.push("hello")
        group.cancel_scope.cancel()

    assert turns >= 5


def test_limits_of_a_storage_are_not_less_than_nothing() -> None:
    """0 is a limit like others: nothing but that, or not kept at all."""
    for limit in ("payload", "result", "keep_done", "keep_dead", "tombstone"):
        options: dict[str, Any] = {limit: -1}
        with pytest.raises(ValueError, match=limit):
            Limits(**options)
        Limits(**{limit: 0})


async def test_arguments_may_take_as_much_as_the_limit() -> None:
    """And not a byte more."""
    storage = MemoryStorage(str, limits=Limits(payload=7))

    await storage.push("12345")

    with pytest.raises(PushRefused, match="take 8 bytes, the limit is 7"):
        await storage.push("123456")


async def test_number_that_is_not_finite_is_no_option() -> None:
    """A task due in an infinite time would never run."""
    storage = MemoryStorage(str)

    with pytest.raises(PushRefused, match="delay must be 0 or more seconds, got inf"):
        await storage.push("hello", delay=math.inf)


def test_listener_hears_nothing_after_its_context_has_ended() -> None:
    """Nor is anything kept of it: a storage outlives many waits."""
    signal, heard = Signal(), list[str]()

    def first() -> None:
        heard.append("first")

    with signal.listening(lambda: heard.append("second")):
        with signal.listening(first):
            signal.notify()
        signal.notify()
    signal.notify()

    assert heard == ["second", "first", "second"]


@pytest.mark.virtual_time
async def test_poll_returns_at_once_after_a_claim_that_brought_something() -> None:
    """Where something was there may be more, whatever the store says."""
    storage = MemoryStorage(str)
    await storage.push("hello")
    poll = Poll(storage)
    began = anyio.current_time()

    poll.begin()
    claimed = await storage.claim(US, {"str": 5}, 5)
    poll.end(claimed)
    await poll.wait()

    assert not claimed.more
    assert anyio.current_time() == began


@pytest.mark.virtual_time
async def test_poll_stands_until_a_claim_begins() -> None:
    """Who waited for it may have to wait for room first, and then asks again."""
    poll = Poll(MemoryStorage(str))
    poll.begin()
    poll.end(Claimed([]))
    await poll.wait()
    ended = anyio.current_time()

    await poll.wait()

    assert anyio.current_time() == ended
