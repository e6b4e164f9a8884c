"""Rules of `wait_for` and `get`, the client's reads."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from layered.backend import Record
from layered.task import Status, new_id
from layered.testing.conformance.backend.store import Store, done, draft, raises
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal


@rule()
async def waiting_ends_when_all_have_ended(store: Store) -> None:
    """The records come in the order of the ids, each as it ended."""
    one, two = draft(), draft()
    await store.push(one, two)
    leases = await store.claim()
    found: list[Record] = []

    async def wait() -> None:
        found.extend(await store.storage.wait_for([two.id, one.id]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await store.settle(done(leases[0]))
        await anyio.lowlevel.checkpoint()
        equal(found, [], "what was answered while one of two runs")
        await store.settle(done(leases[1]))

    equal([record.id for record in found], [two.id, one.id], "the order of the answers")
    equal([record.status for record in found], [Status.DONE] * 2, "the states")


@rule()
async def waiting_does_not_miss_an_end(store: Store) -> None:
    """A task that ended before the wait, or ends as it begins, is seen at once."""
    lease = await store.running()
    found: list[Record] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.settle, done(lease))
        found += await store.storage.wait_for([lease.id])
    found += await store.storage.wait_for([lease.id])

    equal([record.status for record in found], [Status.DONE] * 2, "the states")


@rule()
async def waiting_for_nothing_known_is_an_error(store: Store) -> None:
    """An id that is not there would be waited for for ever."""
    missing = new_id()

    with raises(KeyError, "waiting for a task that is not there"):
        await store.storage.wait_for([missing])
    equal(await store.storage.get(missing), None, "what get answers for it")


@rule()
async def waiting_has_a_time_limit(store: Store) -> None:
    """A task that does not end in time is a `TimeoutError`."""
    one = draft()
    await store.push(one)

    with raises(TimeoutError, "waiting for a task that does not end"):
        await store.storage.wait_for([one.id], timeout=0.0)
