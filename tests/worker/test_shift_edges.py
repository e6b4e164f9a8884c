"""The beginning and the end of a shift, where something interrupts it."""

import os
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import anyio
import anyio.to_thread
import pytest

from layered import Depends, MemoryStorage, Middleware, Status, WorkerBuilder
from layered.backend import Answer, Settle
from layered.worker import State
from layered.worker.children import Children

from .conftest import Email, World
from .test_parts import send


async def test_worker_that_is_stopped_while_it_starts_claims_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the start goes on without a break, in which it could be cancelled."""
    pushed = await world.storage.push(Email())
    worker = world.builder().build(send)

    async def check() -> None:
        worker.context.stop()

    monkeypatch.setattr(world.storage, "check", check)

    await worker.run()

    assert worker.state is State.STOPPED
    assert await world.statuses(pushed.id) == [Status.READY]


async def test_exit_raised_by_a_dependency_of_the_worker_is_raised_as_it_is(world: World) -> None:
    """A program that ends itself where it cannot start ends with its own status."""
    stop = SystemExit(7)

    async def client() -> str:
        raise stop

    async def handler(
        email: Email, it: Annotated[str, Depends(client, scope="worker")]
    ) -> None: ...

    pushed = await world.storage.push(Email())
    worker = world.builder().build(handler)

    with pytest.raises(SystemExit) as raised:
        await worker.run()

    assert raised.value is stop
    assert worker.state is State.STOPPED
    assert await world.statuses(pushed.id) == [Status.READY]


async def test_exit_raised_by_the_check_of_the_store_is_raised_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was claimed, so there is nothing to give back."""
    stop = SystemExit(8)

    async def check() -> None:
        raise stop

    monkeypatch.setattr(world.storage, "check", check)
    worker = world.builder().build(send)

    with pytest.raises(SystemExit) as raised:
        await worker.run()

    assert raised.value is stop
    assert worker.state is State.STOPPED


async def test_exit_raised_by_the_readiness_of_a_layer_gives_tasks_back(world: World) -> None:
    """As from a handler: the fetcher runs code of the user's, too."""
    stop, started = SystemExit(9), anyio.Event()

    class Leaving(Middleware[Any, Any]):
        async def ready(self) -> None:
            if started.is_set():
                raise stop

    async def handler(email: Email) -> None:
        started.set()
        await anyio.sleep_forever()

    first = await world.storage.push(Email())
    worker = world.builder().layer(Leaving).build(handler)

    with pytest.raises(SystemExit) as raised:
        await worker.run()

    assert raised.value is stop
    record = await world.storage.get(first.id)
    assert record is not None
    assert (record.status, record.attempt) == (Status.READY, 0)


def test_interrupt_from_the_keyboard_on_trio_drains_and_is_raised() -> None:
    """It reaches the worker itself, not a handler, when it comes while all of them wait."""
    pytest.importorskip("trio")
    assert threading.current_thread() is threading.main_thread()
    states: list[State] = []
    attempts: list[tuple[Status, int]] = []

    def interrupt(email: Email) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.05)

    async def main() -> None:
        storage = MemoryStorage(Email)
        pushed = await storage.push(Email())
        worker = WorkerBuilder("tests").backend(storage).build(interrupt)
        try:
            await worker.run()
        finally:
            states.append(worker.state)
            with anyio.CancelScope(shield=True):
                (record,) = await storage.wait_for([pushed.id])
            attempts.append((record.status, record.attempt))

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend="trio")

    assert states == [State.STOPPED]
    assert attempts == [(Status.DONE, 1)]


@pytest.mark.virtual_time
async def test_run_until_that_is_cancelled_drains(world: World) -> None:
    """As `run`: what was claimed is given back, and nobody waits for the signal any more."""
    waiting: list[str] = []

    async def stop() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            waiting.append("no more")

    async def handler(email: Email) -> None:
        await anyio.sleep_forever()

    pushed = await world.storage.push(Email())
    worker = world.builder().build(handler)

    with anyio.move_on_after(5) as scope:
        await worker.run_until(stop)

    assert scope.cancelled_caught
    assert worker.state is State.STOPPED
    assert waiting == ["no more"]
    assert await world.statuses(pushed.id) == [Status.READY]


@pytest.mark.virtual_time
async def test_ends_that_only_fail_together_are_all_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that chokes on a batch loses nothing, and nothing is waited for."""
    ids = [(await world.storage.push(Email())).id for _ in range(4)]
    real = world.storage.settle

    async def choking(items: Sequence[Settle]) -> Sequence[Answer]:
        if len(items) > 1:
            raise ValueError
        return await real(items)

    monkeypatch.setattr(world.storage, "settle", choking)

    await world.builder().build(send).run(burst=True)

    assert await world.statuses(*ids) == [Status.DONE] * 4
    assert [one.status for one in world.ended] == [Status.DONE] * 4
    assert anyio.current_time() == pytest.approx(0, abs=0.01)


async def test_children_that_never_began_are_cancelled_in_vain() -> None:
    """A drain may come before anything could be spawned."""
    children = Children("tests", lambda _: None)

    children.cancel()
    await children.quiet()

    assert children.running == 0


async def test_dependency_that_breaks_is_torn_down_after_the_handlers_that_use_it(
    world: World,
) -> None:
    """They are cancelled first, and may still need it to clean up."""
    broken, started = anyio.Event(), anyio.Event()
    order: list[str] = []

    async def breaks() -> None:
        await broken.wait()
        raise LookupError

    async def client() -> AsyncIterator[str]:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(breaks)
                try:
                    yield "client"
                finally:
                    order.append("dependency")
        finally:
            order.append("its group")

    async def handler(email: Email, it: Annotated[str, Depends(client, scope="worker")]) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
            order.append("handler")

    async def run() -> None:
        with pytest.raises(ExceptionGroup):
            await world.builder().build(handler).run()

    await world.storage.push(Email())
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        broken.set()

    assert order == ["handler", "dependency", "its group"]
