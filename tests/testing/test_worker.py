"""`TestWorker`: it runs what is due, and says what went wrong."""

from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from layered import (
    Abort,
    DeadlineExceeded,
    MemoryStorage,
    RetryAfter,
    Snooze,
    SqliteStorage,
    Status,
    Storage,
    WorkerBuilder,
    WorkerContext,
    WrongState,
)
from layered.testing import TestWorker
from layered.worker import StateChanged


@attrs.frozen
class Email:
    to: str = "ada@example.org"


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage[Email]:
    """Give a storage of either kind."""
    if request.param == "memory":
        return MemoryStorage(Email)
    return SqliteStorage(tmp_path / "tasks.db", Email)


async def refuse(email: Email) -> None:
    """Fail as the address says."""
    errors: dict[str, Exception] = {
        "nobody": ValueError("no such address"),
        "later": RetryAfter(60),
        "never": Abort("not this one"),
        "busy": Snooze(60),
    }
    raise errors[email.to]


async def test_worker_runs_what_is_due_and_what_becomes_due_meanwhile(
    storage: Storage[Email],
) -> None:
    """A handler may push; tasks of the future stay."""
    sent = []

    async def send(email: Email) -> str:
        if email.to == "ada":
            await storage.push(Email("bob"))
        sent.append(email.to)
        return "sent"

    async with storage:
        await storage.push(Email("ada"))
        later = await storage.push(Email("later"), delay=3600)

        ended = await TestWorker(WorkerBuilder("w").backend(storage).build(send)).run_until_idle()

        record = await storage.get(later.id)
    assert sent == ["ada", "bob"]
    assert [(one.status, one.error) for one in ended] == [(Status.DONE, None)] * 2
    assert record is not None
    assert record.status is Status.SCHEDULED


async def test_worker_raises_what_the_handler_raised(storage: Storage[Email]) -> None:
    """The same object, once nothing is left to run."""
    errors = []

    async def send(email: Email) -> None:
        errors.append(ValueError(email.to))
        raise errors[-1]

    async with storage:
        await storage.push(Email("nobody"))

        with pytest.raises(ValueError, match="nobody") as caught:
            await TestWorker(WorkerBuilder("w").backend(storage).build(send)).run_until_idle()

    assert caught.value is errors[0]


async def test_worker_raises_several_errors_as_a_group(storage: Storage[Email]) -> None:
    """None of them hides another."""
    async with storage:
        await storage.push_many([Email("nobody"), Email("never"), Email("later"), Email("busy")])

        with pytest.raises(ExceptionGroup, match="2 tasks failed") as caught:
            await TestWorker(WorkerBuilder("w").backend(storage).build(refuse)).run_until_idle()

    assert {type(error) for error in caught.value.exceptions} == {ValueError, Abort}


@pytest.mark.virtual_time
async def test_worker_raises_that_a_deadline_passed() -> None:
    """Never the loop's own cancellation, which would cancel the test."""
    storage = MemoryStorage(Email)
    await storage.push(Email())

    async def send(email: Email) -> None:
        await anyio.sleep_forever()

    worker = TestWorker(WorkerBuilder("w").backend(storage).deadline(10).build(send))

    with pytest.raises(DeadlineExceeded, match="10 s"):
        await worker.run_until_idle()


async def test_worker_raises_what_a_handler_raised_after_it_had_settled(tmp_path: Path) -> None:
    """The task is done, and there is a fault in the handler nevertheless."""
    error = ValueError("too late")

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.settle_in(lambda _: None)
        raise error

    async with SqliteStorage(tmp_path / "tasks.db", Email) as storage:
        await storage.push(Email())
        worker = TestWorker(WorkerBuilder("w").backend(storage).build(send))

        with pytest.raises(ValueError, match="too late") as caught:
            await worker.run_until_idle()

    assert caught.value is error
    assert [one.status for one in worker.ended] == [Status.DONE]


@pytest.mark.virtual_time
async def test_worker_says_so_when_slow_listeners_kept_it_from_hearing() -> None:
    """A dead task may be among what it was not told: that must not look like success."""
    storage = MemoryStorage(Email)
    await storage.push(Email("nobody"))

    async def slow(event: object) -> None:
        await anyio.sleep(60)

    worker = TestWorker(WorkerBuilder("w").backend(storage).on_event(slow).build(refuse))

    with pytest.raises(WrongState, match=r"worker 'w' ended before its listeners .* slow"):
        await worker.run_until_idle()


@pytest.mark.parametrize(
    ("to", "status"), [("later", Status.RETRY), ("busy", Status.RETRY), ("nobody", Status.DEAD)]
)
async def test_worker_tells_of_runs_that_it_does_not_raise(to: str, status: Status) -> None:
    """A task that will run again is no failure; with raises=False none is."""
    storage = MemoryStorage(Email)
    await storage.push(Email(to))
    worker = TestWorker(WorkerBuilder("w").backend(storage).build(refuse), raises=False)

    (ended,) = await worker.run_until_idle()

    assert (ended.status, ended.error is None) == (status, False)
    assert list(worker.ended) == [ended]


async def test_worker_raises_the_errors_of_each_run_once() -> None:
    """The second run does not raise the first one's again, and tells only of its own."""
    storage = MemoryStorage(Email)
    worker = TestWorker(WorkerBuilder("w").backend(storage).build(refuse))
    await storage.push(Email("nobody"))
    with pytest.raises(ValueError, match="no such"):
        await worker.run_until_idle()

    ended = await worker.run_until_idle()

    assert list(ended) == []
    assert len(worker.ended) == 1


@pytest.mark.virtual_time
async def test_worker_waits_for_future_tasks_when_told_to() -> None:
    """On virtual time, at once."""
    storage, sent = MemoryStorage(Email), list[str]()

    async def send(email: Email) -> None:
        sent.append(email.to)

    await storage.push(Email("later"), delay=600)

    await TestWorker(WorkerBuilder("w").backend(storage).build(send)).run_until_empty()

    assert sent == ["later"]


async def test_worker_keeps_the_listeners_of_the_program() -> None:
    """Both hear of everything, and the worker that was given hears nothing new."""
    storage, heard = MemoryStorage(Email), list[Any]()

    async def note(event: object) -> None:
        heard.append(event)

    async def send(email: Email) -> None: ...

    built = WorkerBuilder("w").backend(storage).on_event(note).build(send)
    worker = TestWorker(built)

    await worker.run_until_idle()

    assert heard == worker.events
    assert {type(event) for event in heard} == {StateChanged}
    await built.run(burst=True)
    assert len(heard) == 2 * len(worker.events)
    assert repr(worker).startswith("TestWorker(<Worker 'w' on MemoryStorage(Email")


def test_worker_is_no_test() -> None:
    """Pytest takes classes for tests by their name."""
    assert TestWorker.__test__ is False
