"""Ends that are written late, twice, or not at all."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from layered import MemoryStorage, RetryAfter, Snooze, Status, Transient
from layered.backend import Answer, Settle
from layered.worker import BackendTroubled

from .conftest import Email, World
from .test_parts import send


def losing_replies(
    storage: MemoryStorage[Email], operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have the first call of *operation* applied, and its answer lost."""
    real, lost = getattr(storage, operation), list[str]()

    async def moody(items: Any) -> Any:
        answers = await real(items)
        if not lost:
            lost.append(operation)
            raise Transient
        return answers

    monkeypatch.setattr(storage, operation, moody)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("operation", "outcome", "most", "told"),
    [
        ("settle", None, None, Status.DONE),
        ("settle", LookupError(), None, Status.DEAD),
        ("settle", RetryAfter(5), None, Status.RETRY),
        ("settle", RetryAfter(5), 1, Status.DEAD),
        ("settle", RetryAfter(5), 2, Status.RETRY),
        ("release", Snooze(5), None, Status.RETRY),
        ("release", Snooze(0), None, Status.READY),
    ],
    ids=str,
)
async def test_end_whose_answer_was_lost_is_written_and_told_once(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    outcome: Exception | None,
    most: int | None,
    told: Status,
) -> None:
    """The repeated write finds that it was applied, and what it led to is told as if at once."""
    runs: list[Email] = []

    async def handler(email: Email) -> None:
        runs.append(email)
        if len(runs) == 1 and outcome is not None:
            raise outcome

    losing_replies(world.storage, operation, monkeypatch)
    options: Any = {} if most is None else {"max_attempts": most}
    await world.storage.push(Email(), **options)

    await world.builder().build(handler).run(burst=True)

    assert world.ended[0].status is told
    assert len([one for one in world.events if isinstance(one, BackendTroubled)]) == 1
    assert len(runs) == len(world.ended)


@pytest.mark.virtual_time
async def test_end_that_cannot_be_written_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is renewed no more, so another worker can have the task."""

    async def choking(items: Sequence[Settle]) -> Sequence[Answer]:
        raise ValueError

    monkeypatch.setattr(world.storage, "settle", choking)
    await world.storage.push(Email())
    worker = world.builder(lease=300.0).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(60)
        in_flight = worker.context.in_flight
        worker.context.stop()

    assert in_flight == 0


@pytest.mark.virtual_time
async def test_drain_waits_for_the_last_ends_to_be_written_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that takes its time is no reason to run a task twice."""
    real, began = world.storage.settle, anyio.Event()

    async def slow(items: Sequence[Settle]) -> Sequence[Answer]:
        began.set()
        await anyio.sleep(2)
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", slow)
    pushed = await world.storage.push(Email())
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await began.wait()
        worker.context.stop()

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert len(world.ended) == 1
