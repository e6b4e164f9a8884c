"""What a `WorkerContext` refuses, and a settle whose fate is unknown."""

from typing import Any

import pytest

from layered import (
    BackendBroken,
    MemoryStorage,
    RetryLayer,
    Status,
    Task,
    TaskId,
    WorkerBuilder,
    WorkerContext,
    WrongState,
)
from layered.backend import Answer, Settle
from layered.task import Draft, Run
from layered.worker import LateError, TaskStale

from .conftest import Email, World
from .test_parts import send


async def test_context_of_a_task_that_no_worker_claimed_is_refused(world: World) -> None:
    """`Worker.call` takes a task through the stack; there is no shift that it could ask."""

    async def handler(email: Email, ctx: WorkerContext) -> None: ...

    task = Task(Email(), Run(Draft("01a20a50-3774-7275-88da-68529aac2d3e", "q", "Email", b"")))

    with pytest.raises(WrongState, match=r"was claimed by no worker: it has no WorkerContext"):
        await world.builder().build(handler).call(task)


async def test_context_outside_a_handler_knows_of_no_run(world: World) -> None:
    """The message says where to get one that does."""
    found: list[Any] = []

    async def handler(email: Email, ctx: WorkerContext) -> None:
        for question in ("cancelled", "cancel_reason"):
            with pytest.raises(WrongState, match=f"'{question}' belongs to a task: take 'ctx: Wor"):
                getattr(worker.context, question)
        with pytest.raises(WrongState, match="'settle_in' belongs to a task"):
            await worker.context.settle_in(None)
        found.extend([repr(worker.context), repr(ctx), ctx.owner])

    pushed = await world.storage.push(Email())
    worker = world.builder().build(handler)

    await worker.run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    of_worker, of_task, owner = found
    assert of_worker == f"<WorkerContext of {owner} running >"
    assert of_task == f"<WorkerContext of {owner} running <Run of {pushed.id} attempt 1>>"


async def test_context_of_a_worker_that_has_stopped_is_refused(world: World) -> None:
    """There is nothing left to pause or to ask."""
    worker = world.builder().build(send)
    await worker.run(burst=True)

    with pytest.raises(WrongState, match="does not run: start it with run"):
        worker.context  # noqa: B018 - the property raises


def test_worker_and_builder_show_what_they_are(world: World) -> None:
    """For logs and for a look at a variable."""
    worker = world.builder().tracing().build(send)

    assert repr(worker) == f"<Worker 'tests' on {world.storage!r} pending>"
    assert repr(WorkerBuilder("mailer")) == "WorkerBuilder('mailer')"
    assert "TracingLayer()" in worker.explain()


class Transacting(MemoryStorage[Email]):
    """A store with transactions to share; `trouble` is raised after the commit."""

    trouble: Exception | None = None
    seen: list[Settle]

    async def settle_in(self, tx: object, item: Settle, /) -> Answer:
        """Settle at once, whatever *tx* is."""
        (answer,) = await self.settle([item])
        if self.trouble is not None:
            raise self.trouble
        return answer


async def test_result_that_cannot_be_stored_is_refused_before_settle_in_begins() -> None:
    """The handler can still mend it, as nothing was written."""
    storage = Transacting(Email)

    async def handler(email: Email, ctx: WorkerContext) -> None:
        with pytest.raises(WrongState, match=r"its result cannot be stored: a value of type 'obj"):
            await ctx.settle_in(None, object())
        await ctx.settle_in(None, "mended")

    pushed = await storage.push(Email())

    await WorkerBuilder("tests").backend(storage).build(handler).run(burst=True)

    (record,) = await storage.wait_for([pushed.id])
    assert record.result_as(str) == "mended"


async def test_settle_in_of_a_cancelled_task_does_not_begin() -> None:
    """The user's cancel came first, so there is no effect."""
    storage = Transacting(Email)

    async def handler(email: Email, ctx: WorkerContext, task_id: TaskId) -> None:
        ctx.cancel(task_id)
        await ctx.settle_in(None)

    pushed = await storage.push(Email())

    await WorkerBuilder("tests").backend(storage).build(handler).run(burst=True)

    assert (await storage.wait_for([pushed.id]))[0].status is Status.CANCELLED


async def test_settle_in_with_an_unknown_end_is_neither_run_again_nor_written_again() -> None:
    """The store knows whether it was committed; a run at once could have its effect twice."""
    storage, events, runs = Transacting(Email), list[object](), list[Email]()
    storage.trouble = BackendBroken("connection lost")

    async def note(event: object) -> None:
        events.append(event)

    async def handler(email: Email, ctx: WorkerContext) -> None:
        runs.append(email)
        await ctx.settle_in(None)

    pushed = await storage.push(Email())
    builder = WorkerBuilder("tests").backend(storage).layer(RetryLayer(5, wait=lambda _: 0.0))

    await builder.on_event(note).build(handler).run(burst=True)

    assert len(runs) == 1
    assert [one.error for one in events if isinstance(one, LateError)] == [storage.trouble]
    assert [one.task_id for one in events if isinstance(one, TaskStale)] == [pushed.id]
    assert (await storage.wait_for([pushed.id]))[0].status is Status.DONE
