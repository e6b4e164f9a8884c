"""Cases of `wait_for` and `get`, the client's reads."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from layered.backend import Storage
from layered.task import Status, new_id
from tests.conformance.harness import Clock, case, claim, claim_one, done, draft


@case()
async def waiting_ends_when_all_have_ended(storage: Storage[Any], clock: Clock) -> None:
    """The records come in the order of the ids, each as it ended."""
    one, two = await storage.push("x"), await storage.push("y")
    leases = (await claim(storage)).leases
    found: list[Status] = []

    async def wait() -> None:
        found.extend(record.status for record in await storage.wait_for([two.id, one.id]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await storage.settle([done(leases[0])])
        await anyio.lowlevel.checkpoint()
        assert found == []
        await storage.settle([done(leases[1])])

    assert found == [Status.DONE, Status.DONE]


@case()
async def waiting_does_not_miss_an_end(storage: Storage[Any], clock: Clock) -> None:
    """A task that ended before the wait, or ends as it begins, is seen at once."""
    pushed = await storage.push("x")
    lease = await claim_one(storage)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(storage.settle, [done(lease)])
        (record,) = await storage.wait_for([pushed.id])
    (again,) = await storage.wait_for([pushed.id])

    assert record.status is again.status is Status.DONE


@case()
async def waiting_for_nothing_known_is_an_error(storage: Storage[Any], clock: Clock) -> None:
    """An id that is not there would be waited for for ever."""
    missing = new_id()

    with pytest.raises(KeyError, match=missing):
        await storage.wait_for([missing])
    assert await storage.get(missing) is None


@case()
async def waiting_has_a_time_limit(storage: Storage[Any], clock: Clock) -> None:
    """A task that does not end in time is a `TimeoutError`."""
    one = draft()
    await storage.insert([one])

    with pytest.raises(TimeoutError):
        await storage.wait_for([one.id], timeout=0.0)
