"""What the simulation has found in layered, each as a test of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import attrs
import pytest

from layered import BackendBroken, MemoryStorage, RetryAfter, Snooze, Status, WorkerBuilder
from layered.backend import Answer, Claimant, Claimed, Release, Settle
from layered.worker import TaskEnded, TaskStale

pytestmark = pytest.mark.virtual_time


@attrs.frozen
class Letter:
    """What these tests push."""


class SlowToClaim(MemoryStorage[Letter]):
    """Answers a first claim after 10 s."""

    slow = True

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        claimed = await super().claim(claimant, wanted, most)
        if claimed.leases and self.slow:
            self.slow = False
            await anyio.sleep(10)
        return claimed


async def test_worker_starts_no_task_whose_claim_took_longer_than_its_lease() -> None:
    """The task may run elsewhere by now; it is run when it was claimed anew."""
    storage = SlowToClaim(Letter)
    pushed = await storage.push(Letter())
    started: list[float] = []
    events: list[Any] = []

    async def write(letter: Letter) -> None:
        started.append(anyio.current_time())

    async def listen(event: object) -> None:
        events.append(event)

    builder = WorkerBuilder("slow").backend(storage).configure(lease=4).on_event(listen)
    began = anyio.current_time()
    await builder.build(write).run(until_empty=True)

    record = await storage.get(pushed.id)
    assert record is not None
    assert (record.status, record.epoch) == (Status.DONE, 2)
    assert [instant - began >= 10 for instant in started] == [True]
    assert [event.attempt for event in events if isinstance(event, TaskStale)] == [1]


class LosesAnswers(MemoryStorage[Letter]):
    """Applies the first settle and the first release, and loses the answer for a while."""

    lost = False

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        return await self._lose(await super().settle(items))

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        return await self._lose(await super().release(items))

    async def _lose(self, answers: Sequence[Answer]) -> Sequence[Answer]:
        if not self.lost:
            self.lost = True
            await anyio.sleep(1)
            raise BackendBroken
        return answers


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (RetryAfter(0.1), Status.RETRY),
        (Snooze(0.1), Status.RETRY),
        (Snooze(0), Status.READY),
    ],
)
async def test_ended_tells_what_its_own_run_led_to_when_the_task_has_moved_on(
    outcome: RetryAfter | Snooze, status: Status
) -> None:
    """A write is repeated because its answer was lost; by then the task runs again."""
    storage = LosesAnswers(Letter)
    pushed = await storage.push(Letter())
    ends: list[Status] = []
    runs = 0

    async def write(letter: Letter) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise outcome
        await anyio.sleep(2)

    async def listen(event: object) -> None:
        if isinstance(event, TaskEnded):
            ends.append(event.status)

    workers = [
        WorkerBuilder("one").backend(storage).on_event(listen).build(write) for _ in range(2)
    ]
    async with anyio.create_task_group() as group:
        for worker in workers:
            group.start_soon(worker.run)
        await storage.wait_for([pushed.id])
        await anyio.sleep(3)
        group.cancel_scope.cancel()

    assert sorted(ends) == [status, Status.DONE]
