"""Heartbeats: which workers there are, and what each is made of."""

from functools import partial
from typing import Any

import anyio
import attrs
import pytest

from layered import Inspector, MemoryStorage, Middleware, Status, Task, Transient, WorkerBuilder
from layered.backend import Beat
from layered.worker import BackendTroubled, State

from .conftest import Email, World, while_running


class Audit(Middleware[Task[Any], Any]):
    """A layer with a setting."""

    def __init__(self, inner: Any, to: str) -> None:
        super().__init__(inner)
        self.to = to


@attrs.frozen
class SignLayer:
    """A layer that has something to hide."""

    key: str = attrs.field(repr=False)
    strict: bool = True

    def layer(self, inner: Any, /) -> Any:
        """Put nothing around *inner*."""
        return inner


async def send(email: Email) -> None:
    """Take a while."""
    await anyio.sleep(100)


@pytest.mark.virtual_time
async def test_worker_tells_what_it_is_made_of_and_leaves_at_the_end(world: World) -> None:
    """The stack outermost first, and nothing that a layer hides."""
    inspector = Inspector(world.storage)
    await world.storage.push(Email())
    signed = SignLayer("s3cret", strict=False)
    worker = (
        world.builder(lease=30.0)
        .layer(signed)
        .retry(3)
        .layer(partial(Audit, to="log"))
        .concurrency(5)
        .build(send)
    )

    async def act() -> None:
        await anyio.sleep(25)
        (info,) = await inspector.workers()
        assert info.owner == worker.context.owner
        assert (info.name, info.queue, info.tasks) == ("tests", "default", ["Email"])
        assert (info.concurrency, info.in_flight, info.state) == (5, 1, "running")
        assert info.stack[:-1] == [
            "SignLayer(strict=False)",
            "RetryLayer(stop=stop_after_attempt(max_attempt_number=3))",
            "Audit(to='log')",
            "ConcurrencyLimitLayer(limit=5)",
        ]
        assert info.stack[-1] in worker.explain()
        assert info.started_at is not None
        assert info.alive

    await while_running(worker, do=act)

    assert await inspector.workers() == []


@pytest.mark.virtual_time
async def test_worker_that_is_lost_counts_as_dead_when_its_leases_have_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then its tasks cannot be taken from it, either."""
    inspector, alive = Inspector(world.storage), list[bool]()
    monkeypatch.setattr(world.storage, "leave", lambda _: anyio.lowlevel.checkpoint())
    await while_running(world.builder(lease=30.0).build(send), do=partial(anyio.sleep, 100))

    for seconds in (0, 15, 16):
        await anyio.sleep(seconds)
        alive += [one.alive for one in await inspector.workers()]

    assert alive == [True, True, False]


@pytest.mark.virtual_time
async def test_worker_that_drains_or_is_paused_says_so(world: World) -> None:
    """A page that shows only running workers would hide why a queue grows."""
    inspector, states = Inspector(world.storage), list[str]()
    await world.storage.push(Email())
    worker = world.builder(lease=3.0, grace=500.0).build(send)

    async def look() -> None:
        await anyio.sleep(2)
        states.extend(one.state for one in await inspector.workers())

    async def act() -> None:
        await look()
        worker.context.pause()
        await look()
        worker.context.stop()
        await look()

    await while_running(worker, do=act)

    assert states == ["running", "paused", "draining"]


@pytest.mark.virtual_time
async def test_store_that_takes_no_beats_holds_up_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trouble is told; tasks run, and the drain is no longer than it may be."""

    async def refuse(beat: Beat) -> None:
        msg = "locked"
        raise Transient(msg)

    monkeypatch.setattr(world.storage, "beat", refuse)
    monkeypatch.setattr(world.storage, "leave", lambda _: anyio.sleep(1000))
    pushed = await world.storage.push(Email())

    await world.builder(lease=300.0, cancel_grace=5.0).build(send).run(until_empty=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    told = [(one.operation, one.delay) for one in world.events if isinstance(one, BackendTroubled)]
    assert told == [("heartbeat", 100.0)] * len(told)
    assert told
    assert 105 <= anyio.current_time() <= 107


async def test_worker_that_cannot_leave_ends_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told; the store forgets the worker by itself in time."""
    gone = OSError("gone")

    async def refuse(owner: str) -> None:
        raise gone

    async def handler(email: Email) -> None: ...

    monkeypatch.setattr(world.storage, "leave", refuse)

    await world.builder().build(handler).run(burst=True)

    told = [one for one in world.events if isinstance(one, BackendTroubled)]
    assert [(one.operation, one.error) for one in told] == [("heartbeat", gone)]


@pytest.mark.virtual_time
async def test_leaving_waits_for_the_beat_that_is_on_its_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat that comes after the leaving would keep a worker that is gone."""
    calls: list[str] = []

    async def beat(beat: Beat) -> None:
        calls.append("beat")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)  # a driver that waits for the server to give up
            calls.append("given up")

    async def leave(owner: str) -> None:
        calls.append(f"{owner.partition('/')[0]} leaves")

    monkeypatch.setattr(world.storage, "beat", beat)
    monkeypatch.setattr(world.storage, "leave", leave)

    await while_running(world.builder().build(send), do=partial(anyio.sleep, 10))

    assert calls == ["beat", "given up", "tests leaves"]


async def test_worker_on_a_store_that_keeps_no_workers_runs_as_ever() -> None:
    """The capability is one that a store may have."""

    class Plain(MemoryStorage[Email]):
        beat = None  # type: ignore[assignment]  # lacks the capability

    async def handler(email: Email) -> None: ...

    storage = Plain(Email)
    pushed = await storage.push(Email())
    worker = WorkerBuilder("w").backend(storage).build(handler)

    await worker.run(burst=True)

    assert worker.state is State.STOPPED
    record = await storage.get(pushed.id)
    assert record is not None
    assert record.status is Status.DONE
