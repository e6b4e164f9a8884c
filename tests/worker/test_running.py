"""What a worker does with tasks, and when it ends."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from layered import (
    Abort,
    BackendClosed,
    Data,
    MemoryStorage,
    RetryAfter,
    Router,
    Snooze,
    SqliteStorage,
    Status,
    WorkerBuilder,
    WrongState,
)
from layered.worker import NamesUnknown, ResultDropped, State, StateChanged

from .conftest import Email, World


async def test_worker_runs_a_pushed_task_and_keeps_its_result(world: World) -> None:
    """What the handler answers is the task's result."""

    async def send(email: Email) -> str:
        return f"sent to {email.to}"

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    (record,) = await world.storage.wait_for([pushed.id])
    assert record.status is Status.DONE
    assert record.result_as(str) == "sent to ada@example.org"
    assert [event.status for event in world.ended] == [Status.DONE]


async def test_task_that_raises_is_dead_after_one_run_and_keeps_its_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a RetryLayer nothing is run again behind the user's back; the log says so."""
    runs = []

    async def send(email: Email) -> None:
        runs.append(email)
        msg = "no such host"
        raise ConnectionError(msg)

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    (record,) = await world.storage.wait_for([pushed.id])
    assert record.status is Status.DEAD
    assert [(one.type, one.message) for one in record.errors] == [
        ("ConnectionError", "no such host")
    ]
    assert "no such host" in record.errors[0].traceback
    assert len(runs) == 1
    assert f"task Email {pushed.id} is dead after run 1: ConnectionError: 'no such" in caplog.text


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("outcome", "attempts", "status"),
    [
        (Abort("never"), [1], Status.DEAD),
        (RetryAfter(5), [1, 2], Status.DONE),
        (Snooze(5), [1, 1], Status.DONE),
    ],
    ids=["abort", "retry after", "snooze"],
)
async def test_outcome_decides_how_a_task_goes_on(
    world: World, outcome: Exception, attempts: list[int], status: Status
) -> None:
    """Abort ends it, RetryAfter charges the run, Snooze takes the charge back."""
    seen: list[tuple[int, float]] = []

    class Handler:
        async def call(self, task: Any) -> Any:
            seen.append((task.attempt, anyio.current_time()))
            return outcome if len(seen) == 1 else None

    pushed = await world.storage.push(Email())

    await world.builder().build(Handler()).run(until_empty=True)

    assert [attempt for attempt, _ in seen] == attempts
    assert await world.statuses(pushed.id) == [status]
    if len(seen) == 2:
        assert seen[1][1] - seen[0][1] == pytest.approx(5, abs=0.001)


async def test_retry_after_is_dead_at_max_attempts_without_a_retry_layer(world: World) -> None:
    """The task's own bound holds whatever the handler asks for."""

    async def send(email: Email) -> None:
        raise RetryAfter(0)

    pushed = await world.storage.push(Email(), max_attempts=3)

    await world.builder().build(send).run(until_empty=True)

    (record,) = await world.storage.wait_for([pushed.id])
    assert (record.status, record.attempt) == (Status.DEAD, 3)


@pytest.mark.virtual_time
async def test_burst_leaves_future_tasks_and_until_empty_waits_for_them(world: World) -> None:
    """A burst ends with nothing due; until_empty with nothing live."""

    async def send(email: Email) -> None: ...

    await world.storage.push(Email())
    later = await world.storage.push(Email(), delay=3600)
    worker = world.builder().build(send)

    await worker.run(burst=True)
    after_burst = await world.statuses(later.id)
    started = anyio.current_time()
    await worker.run(until_empty=True)

    assert after_burst == [Status.SCHEDULED]
    assert await world.statuses(later.id) == [Status.DONE]
    assert 3590 < anyio.current_time() - started < 3700


async def test_worker_refuses_burst_together_with_until_empty(world: World) -> None:
    """They end at different times, so one of them would be without effect."""

    async def send(email: Email) -> None: ...

    worker = world.builder().build(send)

    with pytest.raises(ValueError, match="by burst or by until_empty, got both"):
        await worker.run(burst=True, until_empty=True)
    await worker.run(burst=True)


@pytest.mark.virtual_time
async def test_worker_wakes_at_a_hint_without_waiting_for_the_poll(world: World) -> None:
    """A push in the same process is claimed at once."""
    done = anyio.Event()

    async def send(email: Email) -> None:
        done.set()

    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(1000.123)
        pushed_at = anyio.current_time()
        await world.storage.push(Email())
        await done.wait()
        waited = anyio.current_time() - pushed_at
        worker.context.stop()

    assert waited == 0


async def test_unknown_name_is_left_alone_and_reported_once() -> None:
    """A task that nobody here handles stays ready; the others go on."""
    storage: MemoryStorage[Email | int] = MemoryStorage(Email | int)
    email, number = await storage.push(Email()), await storage.push(5)
    only_numbers = MemoryStorage(int)
    only_numbers.__dict__.update(
        {key: value for key, value in storage.__dict__.items() if key != "kinds"}
    )
    events: list[Any] = []

    async def note(event: object) -> None:
        events.append(event)

    async def double(number: int) -> int:
        return 2 * number

    await WorkerBuilder("w").backend(only_numbers).on_event(note).build(double).run(burst=True)

    records = await storage.fetch([email.id, number.id])
    assert [one and one.status for one in records] == [Status.READY, Status.DONE]
    assert [one.names for one in events if isinstance(one, NamesUnknown)] == [["Email"]]


async def test_router_takes_each_name_to_its_handler() -> None:
    """One worker serves several task types."""
    storage: MemoryStorage[Email | int] = MemoryStorage(Email | int)
    seen: list[object] = []

    async def send(email: Email, greeting: Data[str]) -> None:
        seen.append((greeting, email.to))

    async def count(number: int) -> None:
        seen.append(number)

    router = Router().route(Email, send).route(int, count)
    await storage.push_many([Email(), 7])

    await WorkerBuilder("w").backend(storage).data("hello").build(router).run(burst=True)

    assert sorted(seen, key=str) == [("hello", "ada@example.org"), 7]


async def test_undecodable_task_is_dead_with_its_bytes_and_harms_no_other(world: World) -> None:
    """Decoding happens on the task's own path."""

    async def send(email: Email) -> None: ...

    good = await world.storage.push(Email())
    bad = await world.storage.push(Email())
    row = world.storage._book.rows[bad.id]
    row.draft = row.draft._replace(payload=b"\xff{")

    await world.builder().build(send).run(burst=True)

    record = await world.storage.get(bad.id)
    assert await world.statuses(good.id, bad.id) == [Status.DONE, Status.DEAD]
    assert record is not None
    assert record.payload == b"\xff{"
    assert record.errors[-1].type == "layered.errors.DecodeFailed"


@pytest.mark.virtual_time
async def test_newer_version_is_left_to_newer_workers_for_an_hour_then_dead(world: World) -> None:
    """A task of a newer program waits uncharged, and not for ever."""

    async def send(email: Email) -> None: ...

    pushed = await world.storage.push(Email())
    row = world.storage._book.rows[pushed.id]
    row.draft = row.draft._replace(version=2)
    worker = world.builder().build(send)
    started = anyio.current_time()

    await worker.run(burst=True)
    first = await world.storage.get(pushed.id)
    await worker.run(until_empty=True)

    record = await world.storage.get(pushed.id)
    assert first is not None
    assert (first.status, first.attempt) == (Status.RETRY, 0)
    assert record is not None
    assert record.status is Status.DEAD
    assert 0.9 * 3600 < anyio.current_time() - started <= 3660
    assert record.errors[-1].type == "layered.errors.NewerVersion"


async def test_result_that_cannot_be_stored_is_dropped_and_told(world: World) -> None:
    """The work is done; running it again could not mend the result."""

    async def send(email: Email) -> object:
        return object()

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    (record,) = await world.storage.wait_for([pushed.id])
    assert (record.status, record.result) == (Status.DONE, None)
    assert [one.task_id for one in world.events if isinstance(one, ResultDropped)] == [pushed.id]


async def test_pause_holds_back_the_fetch_until_resume(world: World) -> None:
    """A paused worker claims nothing, and loses nothing."""
    done = anyio.Event()

    async def send(email: Email) -> None:
        done.set()

    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.wait_all_tasks_blocked()
        worker.context.pause()
        pushed = await world.storage.push(Email())
        await anyio.wait_all_tasks_blocked()
        paused = await world.statuses(pushed.id)
        worker.context.resume()
        await done.wait()
        worker.context.stop()

    assert paused == [Status.READY]
    assert await world.statuses(pushed.id) == [Status.DONE]
    states = [one.state for one in world.events if isinstance(one, StateChanged)]
    assert states == [
        State.RUNNING,
        State.PAUSED,
        State.RUNNING,
        State.DRAINING,
        State.STOPPED,
    ]


async def test_wrong_moves_are_refused_with_what_can_be_done(world: World) -> None:
    """A move that the state forbids says what is allowed."""

    async def send(email: Email) -> None: ...

    worker = world.builder().build(send)
    with pytest.raises(WrongState, match="does not run: start it"):
        worker.context  # noqa: B018 - the property raises

    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(WrongState, match="it cannot 'resume'; what it can do now is pause"):
            worker.context.resume()
        with pytest.raises(WrongState, match="runs already"):
            await worker.run()
        worker.context.stop()


async def test_worker_runs_again_after_it_stopped(world: World) -> None:
    """A worker is a plan; each run is a new shift."""

    async def send(email: Email) -> None: ...

    worker = world.builder().build(send)
    first = await world.storage.push(Email())
    await worker.run(burst=True)
    second = await world.storage.push(Email())
    await worker.run(burst=True)

    assert await world.statuses(first.id, second.id) == [Status.DONE, Status.DONE]


async def test_worker_runs_after_a_start_that_failed(tmp_path: Path) -> None:
    """A storage that was not open when the worker started is no reason to build another one."""

    async def send(email: Email) -> None: ...

    storage = SqliteStorage(tmp_path / "tasks.db", Email)
    worker = WorkerBuilder("tests").backend(storage).build(send)
    with pytest.raises(BackendClosed, match="not open"):
        await worker.run(burst=True)
    assert worker.state is State.STOPPED

    async with storage:
        pushed = await storage.push(Email())
        await worker.run(burst=True)
        (record,) = await storage.wait_for([pushed.id])

    assert record.status is Status.DONE


async def test_slow_and_failing_listeners_harm_nobody(world: World) -> None:
    """Tasks go on while a listener sleeps or raises; others are told all the same."""
    release = anyio.Event()

    async def slow(event: object) -> None:
        await release.wait()

    def failing(event: object) -> None:
        raise RuntimeError

    async def send(email: Email) -> None: ...

    ids = [(await world.storage.push(Email())).id for _ in range(20)]
    worker = world.builder().on_event(failing).on_event(slow).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await world.storage.wait_for(ids)
        release.set()
        worker.context.stop()

    assert len(world.ended) == 20
