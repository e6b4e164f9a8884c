"""What every worker does beside its tasks: pruning, and telling of names that nobody handles."""

import anyio
import pytest

from layered import Abort, Limits, MemoryStorage, Status, Transient, WorkerBuilder, WorkerContext
from layered.backend import Claimant, Dead, Failure, Settle
from layered.worker import BackendTroubled, NamesUnknown
from layered.worker.housekeeping import PRUNE_BATCH

from .conftest import Email, World
from .test_parts import failing, send


@pytest.mark.virtual_time
async def test_worker_prunes_what_has_ended_long_ago_in_one_go() -> None:
    """More than one batch at a time, or a busy queue would grow without end."""
    limits = Limits(keep_done=10.0, keep_dead=10.0, tombstone=10.0)
    storage, many = MemoryStorage(Email, limits=limits), PRUNE_BATCH * 2 + 1
    await storage.push_many([Email()] * many)
    claimed = await storage.claim(Claimant("default", "us"), {"Email": many}, many)
    dead = Dead(Failure("ValueError", "bad"))
    await storage.settle([Settle(lease.fence, dead, 1) for lease in claimed.leases])
    await anyio.sleep(60)
    worker = WorkerBuilder("w").backend(storage).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(10)
        left = await storage.counts("default")
        worker.context.stop()

    assert not left


@pytest.mark.virtual_time
async def test_worker_prunes_and_tells_of_an_unknown_name_now_and_then() -> None:
    """About once a minute the one, once in its life the other."""
    storage: MemoryStorage[Email | int] = MemoryStorage(Email | int)
    await storage.push(5)
    only_emails = MemoryStorage(Email)
    only_emails.__dict__.update(
        {key: value for key, value in storage.__dict__.items() if key != "kinds"}
    )
    told, pruned = list[NamesUnknown](), list[float]()
    real = only_emails.prune

    async def prune(limit: int) -> int:
        pruned.append(anyio.current_time())
        return await real(limit)

    async def note(event: object) -> None:
        if isinstance(event, NamesUnknown):
            told.append(event)

    only_emails.__dict__["prune"] = prune
    worker = WorkerBuilder("w").backend(only_emails).on_event(note).build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.sleep(600)
        worker.context.stop()

    assert [one.names for one in told] == [["int"]]
    assert 7 <= len(pruned) <= 11


@pytest.mark.virtual_time
async def test_trouble_in_housekeeping_is_told_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blip of the store leaves no lost task behind."""
    pushed = await world.storage.push(Email())
    await world.storage.claim(Claimant("default", "gone", 5.0), {"Email": 1}, 1)
    failing(world, monkeypatch, "reap", Transient("locked"), OSError("gone"), Transient("still"))

    await world.builder(lease=4.0).build(send).run(until_empty=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    told = [one for one in world.events if isinstance(one, BackendTroubled)]
    assert [one.operation for one in told] == ["housekeeping"] * 3
    assert {one.delay for one in told} == {2.0}


async def test_abort_is_stored_as_what_it_was_made_of(world: World) -> None:
    """An error that it was raised from says more; without one it speaks for itself."""

    async def handler(email: Email) -> None:
        if email.to == "nobody":
            msg = "no such address"
            raise Abort(msg)
        try:
            msg = "no such host"
            raise LookupError(msg)
        except LookupError as error:
            raise Abort from error

    ids = [(await world.storage.push(Email(to))).id for to in ("nobody", "ada")]

    await world.builder().build(handler).run(burst=True)

    records = await world.storage.wait_for(ids)
    assert [(one.errors[-1].type, one.errors[-1].message) for one in records] == [
        ("layered.errors.Abort", "no such address"),
        ("LookupError", "no such host"),
    ]


@pytest.mark.virtual_time
async def test_deadline_is_stored_with_the_error_that_the_handler_raised_then(
    world: World,
) -> None:
    """It may say what the handler was doing."""

    async def handler(email: Email, ctx: WorkerContext) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            msg = f"was sending, {ctx.cancel_reason}"
            raise LookupError(msg)

    pushed = await world.storage.push(Email())

    await world.builder().deadline(5).build(handler).run(burst=True)

    (record,) = await world.storage.wait_for([pushed.id])
    assert record.errors[-1].type == "layered.errors.DeadlineExceeded"
    assert "was sending, CancelReason.DEADLINE" in record.errors[-1].traceback
