"""Building a worker: everything wrong is said at once, and `explain` tells what was built."""

from functools import partial
from typing import Annotated, Any, Self

import anyio
import pytest

from layered import (
    BuildError,
    ConcurrencyLimitLayer,
    Data,
    Depends,
    Layer,
    MemoryStorage,
    Middleware,
    PushRefused,
    RetryLayer,
    Service,
    Stack,
    Task,
    TaskId,
    TimeoutLayer,
    TracingLayer,
    WorkerBuilder,
    WorkerContext,
    WrongState,
    check,
)
from layered.worker import State

from .conftest import Email, World


class Timing(Middleware[Any, Any]):
    """A middleware of a user's."""

    def __init__(self, inner: Service[Any, Any], /, slow: float = 1.0) -> None:
        super().__init__(inner)
        self.slow = slow


def test_build_names_all_problems_at_once_and_starts_nothing(world: World) -> None:
    """One error for the whole program, each problem with its way out."""

    async def send(number: int, greeting: Data[bytes], unknown: complex) -> None: ...

    builder: Any = world.builder().data("one").data("two").retry(2).retry(3)
    with pytest.raises(BuildError) as raised:
        builder.layer(5).layer(TimeoutLayer).build(send)

    told = str(raised.value)
    assert told.startswith("cannot build worker 'tests', 7 problems:\n  1. ")
    for part in (
        "two values of str were provided",
        "5 is no layer: it has no 'layer' method",
        "TimeoutLayer is a layer's class; add an object: .layer(TimeoutLayer(...))",
        "the stack has 2 RetryLayers; keep one",
        "takes int first ('number'), the storage holds Email",
        "parameter 'greeting'",
        "parameter 'unknown'",
    ):
        assert part in told, told


@pytest.mark.parametrize(
    "wrong",
    [
        lambda _: None,
        lambda _: object(),
    ],
    ids=["none", "object"],
)
def test_build_refuses_a_layer_that_answers_no_service(world: World, wrong: Any) -> None:
    """A function that forgets to answer is found at build."""

    async def send(email: Email) -> None: ...

    with pytest.raises(BuildError, match="which is no service; answer an object with 'call'"):
        world.builder().layer(wrong).build(send)


def test_worker_name_is_checked() -> None:
    """It goes into logs and into the owner of leases."""
    with pytest.raises(PushRefused, match="worker name must have no control characters"):
        WorkerBuilder("a\nb")


@pytest.mark.parametrize(
    "change", [{"lease": 0}, {"batch": 0}, {"concurrency": 0}, {"grace": -1}], ids=repr
)
def test_settings_out_of_range_are_refused(world: World, change: dict[str, Any]) -> None:
    """A number that would hang or spin a worker is no setting."""
    with pytest.raises(ValueError, match=next(iter(change))):
        world.builder(**change)


def test_check_finds_what_build_would_without_a_worker(world: World) -> None:
    """For a unit test of a handler's signature."""

    async def send(email: Email, greeting: Data[str]) -> None: ...

    check(send, world.storage, "hello")
    with pytest.raises(BuildError, match="greeting"):
        check(send, world.storage)


async def test_layers_run_first_added_outermost(world: World) -> None:
    """The order of tower's ServiceBuilder, with every way to give a layer."""
    order: list[str] = []

    class Named(Middleware[Any, Any]):
        def __init__(self, inner: Service[Any, Any], /, name: str = "class") -> None:
            super().__init__(inner)
            self.name = name

        async def call(self, request: Any, /) -> Any:
            order.append(self.name)
            return await self.inner.call(request)

    class NamedLayer:
        def layer(self, inner: Service[Any, Any], /) -> Service[Any, Any]:
            return Named(inner, name="layer")

    def function(inner: Service[Any, Any], /) -> Service[Any, Any]:
        return Named(inner, name="function")

    async def send(email: Email) -> None:
        order.append("handler")

    layer: Layer = NamedLayer()
    builder = world.builder().layer(Named).layer(partial(Named, name="partial"))
    worker = builder.layer(layer).layer(function).build(send)
    await world.storage.push(Email())

    await worker.run(burst=True)

    assert order == ["class", "partial", "layer", "function", "handler"]


def get_connection(greeting: Data[str]) -> str:
    """Make something of what was provided."""
    return greeting


async def send_with_everything(
    email: Email, ctx: WorkerContext, db: Annotated[str, Depends(get_connection)], retries: int = 3
) -> None:
    """Take one of each kind."""


def test_explain_tells_stack_parameters_attempts_and_limits(world: World) -> None:
    """What will happen to a task, before it happens."""
    worker = (
        WorkerBuilder("mailer")
        .backend(world.storage)
        .data("hello")
        .layer(TracingLayer())
        .concurrency(20)
        .layer(RetryLayer(4))
        .timeout(5)
        .layer(partial(Timing, slow=2.0))
        .layer(Timing)
        .deadline(60)
        .configure(lease=10)
        .build(send_with_everything)
    )

    told = worker.explain()

    stack = [line.strip() for line in told.split("outermost first:\n")[1].splitlines()]
    assert "worker 'mailer' on MemoryStorage(Email, queue='default')" in told
    assert "Email from queue 'default'" in told
    assert "up to 20 handlers, claimed up to 100 at a time" in told
    assert "10 s, renewed every 3.33 s" in told
    assert "each attempt 5 s; a whole task 60 s" in told
    assert "up to 4, or max_attempts as pushed if that is less" in told
    assert [line.split("(")[0] for line in stack[:5]] == [
        "TracingLayer",
        "ConcurrencyLimitLayer",
        "RetryLayer",
        "TimeoutLayer",
        "Timing",
    ]
    assert stack[0] == "TracingLayer()"
    assert stack[2] == "RetryLayer(stop=stop_after_attempt(max_attempt_number=4))"
    assert stack[4:6] == ["Timing(slow=2.0)", "Timing"]
    assert stack[6].startswith("send_with_everything (test_building.py:")
    assert any(line.startswith("db = Depends(get_connection), per attempt") for line in stack)
    assert any(line.startswith("ctx = WorkerContext") for line in stack)


def test_explain_without_layers_says_that_an_error_is_final(world: World) -> None:
    """Nothing happens behind the user's back."""

    async def send(email: Email) -> None: ...

    told = world.builder().build(send).explain()

    assert "1, an error is final (no RetryLayer)" in told
    assert "each attempt none; a whole task none" in told


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=False)
def test_run_sync_opens_works_and_closes(anyio_backend: Any) -> None:
    """A whole program without `await`."""
    seen: list[str] = []

    class Pushing(MemoryStorage[Email]):
        async def __aenter__(self) -> Self:
            await self.push(Email())
            return self

    async def send(email: Email) -> None:
        seen.append(email.to)

    worker = WorkerBuilder("w").backend(Pushing(Email)).build(send)

    worker.run_sync(burst=True, backend=anyio_backend)

    assert seen == ["ada@example.org"]


async def test_run_sync_is_refused_inside_an_event_loop(world: World) -> None:
    """It would run a second loop in the same thread."""

    async def send(email: Email) -> None: ...

    with pytest.raises(WrongState, match="an event loop runs in this thread; await run"):
        world.builder().build(send).run_sync()


async def test_run_until_is_refused_when_its_signal_is_no_function(world: World) -> None:
    """Nothing was started by then."""

    async def send(email: Email) -> None: ...

    worker = world.builder().build(send)
    signal: Any = "later"

    with pytest.raises(TypeError, match="takes an async function, got 'later'"):
        await worker.run_until(signal)
    assert worker.state is State.PENDING


async def test_run_until_drains_when_the_signal_answers(world: World) -> None:
    """Anything that can be awaited may say when to stop."""
    stop = anyio.Event()
    started = anyio.Event()

    async def send(email: Email) -> None:
        started.set()

    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run_until, stop.wait)
        await world.storage.push(Email())
        await started.wait()
        stop.set()

    assert worker.state.value == "stopped"


async def test_call_takes_one_task_through_the_stack(world: World) -> None:
    """For tests and tools: no claim, no settle."""
    from layered.task import Draft, Run

    async def send(email: Email, task_id: TaskId) -> str:
        return f"{email.to} {task_id[:8]}"

    worker = world.builder().retry(2).build(send)
    draft = Draft("01a20a50-3774-7275-88da-68529aac2d3e", "default", "Email", b"")

    assert await worker.call(Task(Email("bob"), Run(draft))) == "bob 01a20a50"


async def test_spawned_children_are_waited_for_in_a_drain(world: World) -> None:
    """What runs beside the handlers has the same grace."""
    order: list[str] = []
    go_on = anyio.Event()

    async def child(name: str) -> None:
        await go_on.wait()
        order.append(name)

    async def failing() -> None:
        raise ConnectionError

    async def send(email: Email, ctx: WorkerContext) -> None:
        ctx.spawn(child, "child", name="mine")
        ctx.spawn(failing)
        order.append("handler")
        ctx.stop()

    await world.storage.push(Email())
    worker = world.builder().build(send)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.wait_all_tasks_blocked()
        go_on.set()

    assert order == ["handler", "child"]


@pytest.mark.virtual_time
async def test_spawned_child_is_cancelled_when_grace_is_over(world: World) -> None:
    """A child cannot hold up the end for ever."""

    async def send(email: Email, ctx: WorkerContext) -> None:
        ctx.spawn(anyio.sleep_forever)
        ctx.stop()

    await world.storage.push(Email())

    await world.builder(grace=7.0).build(send).run()

    assert anyio.current_time() == pytest.approx(7, abs=0.5)


async def test_context_tells_of_its_worker(world: World) -> None:
    """Name, owner, state, what is in flight; events of a user's own."""
    told: list[Any] = []

    async def send(email: Email, ctx: WorkerContext) -> None:
        told.extend([ctx.name, ctx.owner, ctx.state.value, ctx.in_flight, ctx.cancelled])
        ctx.emit({"mine": email.to})

    await world.storage.push(Email())

    await world.builder().build(send).run(burst=True)

    name, owner, state, in_flight, cancelled = told
    assert (name, state, in_flight, cancelled) == ("tests", "running", 1, False)
    assert owner.startswith("tests/")
    assert len(owner.split("/")) == 4
    assert {"mine": "ada@example.org"} in world.events


def test_layers_of_a_stack_are_checked_and_explained_one_by_one(world: World) -> None:
    """A stack of layers is those layers: it hides no second retry and no limit."""

    async def send(email: Email) -> None: ...

    stack = Stack(ConcurrencyLimitLayer(7), RetryLayer(2))
    told = world.builder().layer(stack).build(send).explain()

    assert "up to 7 handlers" in told
    assert "Stack" not in told
    with pytest.raises(BuildError, match="the stack has 2 RetryLayers; keep one"):
        world.builder().layer(stack).retry(3).build(send)
