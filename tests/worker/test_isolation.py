"""What one task does must not be seen by the next, and no middleware may stop the worker."""

from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from layered import Middleware, Status, Task

from .conftest import Email, World

seen_by: ContextVar[str] = ContextVar("seen_by", default="nobody")


async def test_context_variable_set_by_one_task_is_invisible_to_the_next(world: World) -> None:
    """Consumers live long; contexts do not."""
    found: list[str] = []

    async def send(email: Email) -> None:
        found.append(seen_by.get())
        seen_by.set(email.to)
        await anyio.lowlevel.checkpoint()
        found.append(seen_by.get())
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.lowlevel.checkpoint)
        with anyio.move_on_after(1):
            await anyio.lowlevel.checkpoint()
        found.append(seen_by.get())

    await world.storage.push_many([Email("ada"), Email("bob")])

    await world.builder(concurrency=1).build(send).run(burst=True)

    assert found == ["nobody", "ada", "ada", "nobody", "bob", "bob"]
    assert seen_by.get() == "nobody"


async def test_context_variable_is_seen_by_the_plain_function_of_its_task(world: World) -> None:
    """A layer's context reaches the thread of the handler."""
    found: list[str] = []

    class Marking(Middleware[Task[Email], Any]):
        async def call(self, task: Task[Email], /) -> Any:
            seen_by.set(task.args.to)
            return await self.inner.call(task)

    def send(email: Email) -> None:
        found.append(seen_by.get())

    await world.storage.push(Email("ada"))

    await world.builder().layer(Marking).build(send).run(burst=True)

    assert found == ["ada"]


class WrongReady(Middleware[Any, Any]):
    """Says that it is ready, and has no capacity: what must not make the worker spin."""

    turns = 0

    def capacity(self) -> int:
        """Tell no capacity at first."""
        type(self).turns += 1
        return 0 if self.turns < 12 else self.inner.capacity()


@pytest.mark.virtual_time
async def test_wrong_ready_makes_the_worker_back_off_not_spin(world: World) -> None:
    """After a capacity of 0 the fetcher waits, longer each time, and goes on when there is one."""
    WrongReady.turns = 0

    async def send(email: Email) -> None: ...

    pushed = await world.storage.push(Email())
    worker = world.builder().layer(WrongReady).build(send)
    WrongReady.turns = 0

    await worker.run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert anyio.current_time() > 1


@pytest.mark.virtual_time
async def test_ready_that_raises_is_waited_out(world: World) -> None:
    """A layer's own trouble stops the fetch for a while, not the worker."""
    failures = 0

    class Moody(Middleware[Any, Any]):
        async def ready(self) -> None:
            nonlocal failures
            if failures < 3:
                failures += 1
                raise ConnectionError

    async def send(email: Email) -> None: ...

    pushed = await world.storage.push(Email())

    await world.builder().layer(Moody).build(send).run(burst=True)

    assert await world.statuses(pushed.id) == [Status.DONE]
    assert failures == 3


async def test_handlers_that_never_suspend_let_others_run(world: World) -> None:
    """A consumer gives way at least every 500 tasks, so another waits for 1,000 at the most."""
    order: list[str] = []

    async def send(email: Email) -> None:
        order.append("task")

    async def other() -> None:
        while len(order) < 4000:
            order.append("other")
            await anyio.lowlevel.checkpoint()

    await world.storage.push_many([Email()] * 4000)
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await world.builder(concurrency=4000, batch=4000).build(send).run(burst=True)

    longest = max(len(run) for run in "".join(one[0] for one in order).split("o"))
    assert longest <= 1000  # the end of one turn of the loop, and the start of the next
