"""What a run tells of itself: its progress, and the steps that need no second time."""

from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import attrs
import pytest

from layered import (
    Attempt,
    CancelReason,
    DecodeFailed,
    Incapable,
    Inspector,
    LeaseLost,
    Limits,
    MemoryStorage,
    SqliteStorage,
    Status,
    WorkerBuilder,
    WorkerContext,
    WrongState,
)
from layered.backend import MAX_PROGRESS

from .conftest import Email, World, while_running


@attrs.frozen
class Receipt:
    """What a step answers."""

    number: int


def lose(world: World) -> None:
    """Have another run own the world's tasks."""
    for row in world.storage._book.rows.values():
        row.epoch += 1


@pytest.mark.virtual_time
async def test_progress_is_what_was_told_last_also_when_the_task_has_ended(world: World) -> None:
    """Whoever looks sees it, decoded."""
    inspector, seen = Inspector(world.storage), list[object]()

    async def send(email: Email, ctx: WorkerContext) -> None:
        for part in (0.25, 0.5):
            await ctx.progress(part)
            await anyio.sleep(10)

    pushed = await world.storage.push(Email())
    seen.append(await inspector.progress(pushed.id, float))

    async def act() -> None:
        for _ in range(3):
            await anyio.sleep(9)
            seen.append(await inspector.progress(pushed.id, float))

    await while_running(world.builder().build(send), do=act)

    assert seen == [None, 0.25, 0.5, 0.5]


async def test_progress_from_a_thread_is_told_through_the_loop(world: World) -> None:
    """Plain functions have no other way to wait for the store."""

    def send(email: Email, ctx: WorkerContext) -> None:
        anyio.from_thread.run(ctx.progress, {"sent": 5})

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    assert await Inspector(world.storage).progress(pushed.id, dict[str, int]) == {"sent": 5}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x" * (MAX_PROGRESS - 1), "it takes 4097 bytes, the limit is 4096"),
        (object(), "a value of type 'object' cannot be encoded as JSON"),
    ],
    ids=["large", "no JSON"],
)
async def test_progress_that_cannot_be_stored_is_a_value_error(
    world: World, value: object, told: str
) -> None:
    """The message names the task and the limit; what was told before stays."""

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.progress("x" * (MAX_PROGRESS - 2))
        with pytest.raises(ValueError, match=told) as raised:
            await ctx.progress(value)
        assert "telling the progress of task Email" in str(raised.value)

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert len(await Inspector(world.storage).progress(pushed.id, str) or "") == MAX_PROGRESS - 2


async def pick() -> Receipt:
    """Answer a receipt; a step."""
    return Receipt(1)


@pytest.mark.virtual_time
@pytest.mark.parametrize("way", ["progress", "checkpoint", "once"])
async def test_run_that_another_one_has_replaced_writes_nothing(world: World, way: str) -> None:
    """It ends as soon as it knows, like after any loss of its lease."""
    reasons: list[CancelReason | None] = []

    async def send(email: Email, ctx: WorkerContext) -> None:
        writes: dict[str, Any] = {
            "progress": partial(ctx.progress, 1),
            "checkpoint": partial(ctx.checkpoint, "pick", int, 1),
            "once": partial(ctx.once, "pick", pick),
        }
        lose(world)
        with pytest.raises(LeaseLost, match="another run owns it by now; nothing was written"):
            await writes[way]()
        reasons.append(ctx.cancel_reason)
        await anyio.sleep_forever()

    pushed = await world.storage.push(Email())

    await while_running(world.builder().build(send), do=partial(anyio.sleep, 1))

    record = await world.storage.get(pushed.id)
    assert record is not None
    assert (record.status, record.progress) == (Status.RUNNING, None)
    assert await world.storage.checkpoints(pushed.id) == {}
    assert reasons == [CancelReason.LEASE_LOST]


@pytest.mark.virtual_time
async def test_step_is_done_once_over_several_runs_of_a_task(world: World) -> None:
    """A later run gets the first one's value, of the type that it had."""
    charged, receipts = list[int](), list[Receipt]()

    async def charge(amount: int) -> Receipt:
        charged.append(amount)
        return Receipt(len(charged))

    async def send(email: Email, ctx: WorkerContext, attempt: Attempt) -> None:
        receipts.append(await ctx.once("charge", charge, 5))
        receipts.append(await ctx.once("charge again", charge, 7))
        if attempt < 3:
            raise OSError

    pushed = await world.storage.push(Email())

    await world.builder().retry(3).build(send).run(until_empty=True)

    assert charged == [5, 7]
    assert receipts == [Receipt(1), Receipt(2)] * 3
    assert await world.statuses(pushed.id) == [Status.DONE]


@pytest.mark.virtual_time
async def test_step_that_fails_is_done_again(world: World) -> None:
    """Nothing is stored of it, and the error is the handler's."""
    tries: list[int] = []

    async def charge() -> int:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError
        return len(tries)

    async def send(email: Email, ctx: WorkerContext) -> int:
        return await ctx.once("charge", charge)

    pushed = await world.storage.push(Email())

    await world.builder().retry(3).build(send).run(until_empty=True)

    assert await world.storage.result(pushed.id, send) == 3


@pytest.mark.virtual_time
async def test_step_that_was_done_is_stored_in_spite_of_a_cancellation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a drain at the wrong moment would have it done twice."""
    real = world.storage.checkpoint

    async def slow(*args: Any) -> bytes | None:
        await anyio.sleep(1)
        return await real(*args)

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.once("pick", pick)
        await anyio.sleep_forever()

    monkeypatch.setattr(world.storage, "checkpoint", slow)
    pushed = await world.storage.push(Email())

    worker = world.builder(grace=0.0).build(send)
    await while_running(worker, do=partial(anyio.sleep, 0.5))

    assert await world.storage.checkpoints(pushed.id) == {"pick": b'{"number":1}'}
    assert await world.statuses(pushed.id) == [Status.READY]


@pytest.mark.virtual_time
async def test_checkpoint_keeps_the_first_value_of_all_runs(world: World) -> None:
    """What was decided once is not decided otherwise by a later run."""
    seen: list[Receipt] = []

    async def send(email: Email, ctx: WorkerContext, attempt: Attempt) -> None:
        seen.append(await ctx.checkpoint("number", Receipt, Receipt(attempt)))
        if attempt < 3:
            raise OSError

    await world.storage.push(Email())

    await world.builder().retry(3).build(send).run(until_empty=True)

    assert seen == [Receipt(1)] * 3


async def test_step_whose_stored_value_no_longer_fits_says_so(world: World) -> None:
    """A new version of the program finds what the old one has stored."""

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.checkpoint("pick", str, "a text")
        for read in (ctx.checkpoint("pick", Receipt, Receipt(1)), ctx.once("pick", pick)):
            with pytest.raises(DecodeFailed, match=r"step 'pick' of task Email .* does not fit"):
                await read

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]


async def test_step_is_refused_before_it_is_done_if_its_value_could_not_be_read(
    world: World,
) -> None:
    """A lambda says nothing of what it answers; and a step has a name."""
    done: list[object] = []

    async def untyped():  # type: ignore[no-untyped-def]  # noqa: ANN202 - what is refused
        done.append(1)

    async def send(email: Email, ctx: WorkerContext) -> None:
        with pytest.raises(TypeError, match="annotated to return"):
            await ctx.once("pick", untyped)
        with pytest.raises(ValueError, match="step must be a text of 1 to 200 characters"):
            await ctx.once("", pick)
        with pytest.raises(ValueError, match="step must have no control characters"):
            await ctx.checkpoint("a\nb", int, 1)

    pushed = await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert done == []


async def test_value_of_a_step_may_be_as_large_as_a_result() -> None:
    """And not a byte more."""

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.checkpoint("ok", str, "x" * 8)
        with pytest.raises(ValueError, match=r"'large' .* it takes 11 bytes, the limit is 10"):
            await ctx.checkpoint("large", str, "x" * 9)

    storage = MemoryStorage(Email, limits=Limits(result=10))
    pushed = await storage.push(Email())

    await WorkerBuilder("w").backend(storage).build(send).run(burst=True)

    assert await storage.checkpoints(pushed.id) == {"ok": b'"xxxxxxxx"'}
    await storage.result(pushed.id, send)


async def test_run_that_has_settled_itself_writes_nothing_more(tmp_path: Any) -> None:
    """Its task has ended, so nobody would do the step again."""

    async def send(email: Email, ctx: WorkerContext) -> None:
        await ctx.settle_in(lambda _: None)
        for write in (ctx.progress(1), ctx.checkpoint("pick", int, 1), ctx.once("pick", pick)):
            with pytest.raises(WrongState, match="was settled before"):
                await write

    async with SqliteStorage(tmp_path / "tasks.db", Email) as storage:
        pushed = await storage.push(Email())
        await WorkerBuilder("w").backend(storage).build(send).run(burst=True)
        await storage.result(pushed.id, send)


async def test_store_without_the_capability_is_named_with_what_it_lacks() -> None:
    """The message says what was asked for."""

    class Plain(MemoryStorage[Email]):
        progress = None  # type: ignore[assignment]  # lacks the capability
        checkpoint = None  # type: ignore[assignment]

    async def send(email: Email, ctx: WorkerContext) -> None:
        with pytest.raises(Incapable, match=r"telling the progress of task Email .* 'Reports'"):
            await ctx.progress(1)
        with pytest.raises(Incapable, match=r"keeping step 'pick' of .* 'Remembers'"):
            await ctx.checkpoint("pick", int, 1)
        with pytest.raises(Incapable, match=r"reading step 'pick' of .* 'Remembers'"):
            await ctx.once("pick", pick)

    storage = Plain(Email)
    pushed = await storage.push(Email())

    await WorkerBuilder("w").backend(storage).build(send).run(burst=True)

    await storage.result(pushed.id, send)
