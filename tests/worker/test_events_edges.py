"""Listeners that are slow, stuck or out of line, and what is dropped or logged."""

import logging
import threading

import anyio
import pytest

from layered import Status, WorkerContext
from layered.backend import APPLIED, Answer, Settle
from layered.worker import ResultDropped, TaskEnded
from layered.worker.events import MOST_WAITING

from .conftest import Email, World
from .test_parts import send


async def test_events_beyond_the_most_that_may_wait_are_dropped_and_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A slow listener costs a limited amount of memory; the oldest go, and the log says so."""
    told: list[int] = []

    async def note(event: object) -> None:
        if isinstance(event, int):
            told.append(event)

    async def handler(email: Email, ctx: WorkerContext) -> None:
        await anyio.wait_all_tasks_blocked()
        for number in range(MOST_WAITING + 50):
            ctx.emit(number)
        await anyio.wait_all_tasks_blocked()

    await world.storage.push(Email())

    await world.builder().on_event(note).build(handler).run(burst=True)

    assert told == list(range(50, MOST_WAITING + 50))
    assert "listeners are too slow: 50 events were dropped" in caplog.text


async def test_exit_raised_by_a_plain_listener_ends_the_worker(world: World) -> None:
    """As from an async one: from its thread to `run`, as it is."""
    stop = SystemExit(5)

    def listener(event: object) -> None:
        if isinstance(event, TaskEnded):
            raise stop

    pushed = await world.storage.push(Email())

    with pytest.raises(SystemExit) as raised:
        await world.builder().on_event(listener).build(send).run()

    assert raised.value is stop
    assert await world.statuses(pushed.id) == [Status.DONE]


@pytest.mark.virtual_time
async def test_listener_that_never_returns_is_cancelled_at_the_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A drain waits for it as long as for handlers, and it is no failure of the listener."""
    cancelled: list[str] = []

    async def stuck(event: object) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append("stuck")
            raise

    worker = world.builder(cancel_grace=4.0).on_event(stuck).build(send)
    await world.storage.push(Email())

    await worker.run(burst=True)

    assert cancelled == ["stuck"]
    assert anyio.current_time() == pytest.approx(4, abs=0.5)
    assert "failed" not in caplog.text


async def test_result_beyond_the_limit_is_dropped_and_told(world: World) -> None:
    """The work is done; the message says how large it was."""

    async def handler(email: Email) -> str:
        return "x" * world.storage.limits.result

    pushed = await world.storage.push(Email())

    await world.builder().build(handler).run(burst=True)

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert (record.status, record.result) == (Status.DONE, None)
    (dropped,) = [one for one in world.events if isinstance(one, ResultDropped)]
    size = world.storage.limits.result + 2  # its quotes
    assert dropped.reason == f"it takes {size} bytes, the limit is {size - 2}"


async def test_store_that_calls_a_done_task_dead_is_not_logged_as_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no error to tell of, so none is invented."""

    async def settle(items: list[Settle]) -> list[Answer]:
        return [APPLIED[Status.DEAD] for _ in items]

    monkeypatch.setattr(world.storage, "settle", settle)
    await world.storage.push(Email())

    with caplog.at_level(logging.ERROR):
        await world.builder().build(send).run(burst=True)

    assert [one.status for one in world.ended] == [Status.DEAD]
    assert caplog.text == ""


async def test_plain_listener_that_never_returns_does_not_hold_up_the_end(world: World) -> None:
    """Its thread is left to itself; a handler's never is."""
    go_on = threading.Event()

    def stuck(event: object) -> None:
        assert go_on.wait(20)

    pushed = await world.storage.push(Email())
    worker = world.builder(cancel_grace=0.0).on_event(stuck).build(send)

    await worker.run(burst=True)
    waiting = not go_on.is_set()
    go_on.set()

    assert waiting
    assert await world.statuses(pushed.id) == [Status.DONE]
