"""`Depends`: shapes, sub-dependencies, caching, and worker scope."""

import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Annotated, Any, NamedTuple

import anyio
import attrs
import msgspec
import pytest

from layered.errors import WrongState
from layered.extractors import Attempt, Data, Depends, TaskId
from layered.handler import Router, TeardownElapsed
from layered.task import Task
from tests.handler.parts import STATE, Email, Sms, State, called, compiled, make_task


def sync_value() -> str:
    """Make a value."""
    return "sync"


async def async_value() -> str:
    """Make a value."""
    return "async"


def generated() -> Iterator[str]:
    """Make a value."""
    yield "generator"


async def async_generated() -> AsyncIterator[str]:
    """Make a value."""
    yield "async generator"


class Factory:
    def __init__(self, state: Data[State]) -> None:
        self.state = state

    async def make(self, attempt: Attempt) -> str:
        return f"method {attempt}"

    async def __call__(self, attempt: Attempt) -> str:
        return f"object {attempt}"


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # on purpose

    def __call__(self) -> str:
        return "unhashable"


async def with_prefix(prefix: str, attempt: Attempt) -> str:
    """Take one parameter from a partial."""
    return f"{prefix} {attempt}"


@pytest.mark.parametrize(
    ("function", "value"),
    [
        pytest.param(sync_value, "sync", id="function"),
        pytest.param(async_value, "async", id="async function"),
        pytest.param(generated, "generator", id="generator"),
        pytest.param(async_generated, "async generator", id="async generator"),
        pytest.param(Factory(STATE).make, "method 1", id="method"),
        pytest.param(Factory(STATE), "object 1", id="object"),
        pytest.param(partial(with_prefix, "partial"), "partial 1", id="partial"),
        pytest.param(Unhashable(), "unhashable", id="unhashable object"),
        pytest.param(lambda: "lambda", "lambda", id="lambda"),
    ],
)
async def test_dependency_may_be_any_callable(function: Any, value: str) -> None:
    """What it makes fills the parameter."""

    async def send(email: Email, one: Annotated[str, Depends(function)]) -> str:
        return one

    assert await called(send) == value


async def test_dependency_may_be_a_class() -> None:
    """Its constructor's parameters are filled."""

    async def send(email: Email, factory: Annotated[Factory, Depends(Factory)]) -> State:
        return factory.state

    assert await called(send, STATE) is STATE


@attrs.frozen
class Settings:
    state: "Data[State]"


class Row(NamedTuple):
    state: "Data[State]"


class Record(msgspec.Struct):
    state: "Data[State]"


@pytest.mark.parametrize("made", [Settings, Row, Record])
async def test_annotations_of_a_class_are_found_in_its_module(made: Any) -> None:
    """Also where no function of its own makes its instances."""

    async def send(email: Email, one: Annotated[Any, Depends(made)]) -> object:
        return one.state

    assert await called(send, STATE) is STATE


async def test_any_name_of_a_parameter_is_good() -> None:
    """No name in the compiled call collides with another."""

    async def call(
        task: Email,
        shared: Data[State],
        one: Annotated[str, Depends(sync_value, scope="worker")],
        two: Annotated[str, Depends(async_value, scope="worker")],
        *,
        limit: Annotated[str, Depends(generated)],
        Held: TaskId,  # noqa: N803
    ) -> object:
        return task.to, shared, one, two, limit, Held

    expected = ("ada@example.org", STATE, "sync", "async", "generator", "0190-id")

    assert await called(call, STATE) == expected


async def test_dependency_is_made_once_per_attempt() -> None:
    """However many parameters want it, and again for the next run."""
    made: list[str] = []

    async def database(task_id: TaskId) -> object:
        made.append(task_id)
        return object()

    async def orders(db: Annotated[object, Depends(database)]) -> object:
        return db

    async def send(
        email: Email,
        db: Annotated[object, Depends(database)],
        through: Annotated[object, Depends(orders)],
        again: Annotated[object, Depends(database)],
    ) -> object:
        assert db is through is again
        return db

    handler = compiled(send)

    first = await handler.service.call(make_task())
    second = await handler.service.call(make_task())

    assert first is not second
    assert made == ["0190-id"] * 2


async def test_dependency_is_filled_like_a_handler() -> None:
    """Data, the task, keyword-only parameters and defaults."""

    def make(task: Task[Email], /, state: Data[State], limit: int = 3, *, n: Attempt) -> object:
        return task.args, state, limit, n

    async def send(email: Email, one: Annotated[object, Depends(make)]) -> object:
        return one

    assert await called(send, STATE) == (Email("ada@example.org"), STATE, 3, 1)


LOG: list[str] = []


@pytest.fixture(autouse=True)
def log() -> list[str]:
    """Give an empty log."""
    LOG.clear()
    return LOG


async def pool(state: Data[State]) -> AsyncIterator[str]:
    """Live as long as the worker."""
    LOG.append("pool up")
    try:
        yield f"pool of {state.name}"
    finally:
        await anyio.lowlevel.checkpoint()
        LOG.append("pool down")


def cache(over: Annotated[str, Depends(pool, scope="worker")], limit: int = 5) -> Iterator[str]:
    """Live as long as the worker."""
    LOG.append("cache up")
    yield f"cache over {over}, {limit}"
    LOG.append("cache down")


async def plain(*, over: Annotated[str, Depends(cache, scope="worker")]) -> str:
    """Live as long as the worker."""
    return f"plain over {over}"


def now(over: Annotated[str, Depends(pool, scope="worker")], attempt: Attempt) -> str:
    """Live for one run."""
    return f"{over} in {attempt}"


async def uses_all(
    email: Email,
    a: Annotated[str, Depends(plain, scope="worker")],
    b: Annotated[str, Depends(now)],
) -> object:
    """Answer what it got."""
    LOG.append("handler")
    return a, b


async def uses_pool(sms: Sms, a: Annotated[str, Depends(pool, scope="worker")]) -> str:
    """Answer what it got."""
    return a


async def test_worker_scoped_dependencies_live_as_long_as_the_worker(log: list[str]) -> None:
    """Set up in order when it starts, torn down the last one first when it ends."""
    handler = compiled(uses_all, STATE)

    async with handler.opened():
        results = [await handler.service.call(make_task(attempt=n)) for n in (1, 2)]

    plain_value = "plain over cache over pool of the state, 5"
    assert results == [
        (plain_value, "pool of the state in 1"),
        (plain_value, "pool of the state in 2"),
    ]
    assert log == ["pool up", "cache up", "handler", "handler", "cache down", "pool down"]


async def test_worker_scoped_dependency_is_shared_by_the_branches_of_a_router(
    log: list[str],
) -> None:
    """There is one for the worker, not one per handler."""
    router = Router().route(Email, uses_all).route(Sms, uses_pool)
    handler = compiled(router, STATE, args=Email | Sms)

    async with handler.opened():
        assert await handler.service.call(make_task(Sms("1"))) == "pool of the state"

    assert log == ["pool up", "cache up", "cache down", "pool down"]


CLOSED = (
    "a handler was called while its worker-scoped dependencies ('pool') are not set up; "
    "call it inside 'async with handler.opened()'"
)


async def test_call_outside_of_opened_is_an_error() -> None:
    """Before, after, and never with a value of an earlier time."""
    handler = compiled(uses_pool, STATE, args=Sms)

    with pytest.raises(WrongState) as before:
        await handler.service.call(make_task(Sms("1")))
    async with handler.opened():
        pass
    with pytest.raises(WrongState) as after:
        await handler.service.call(make_task(Sms("1")))

    assert [str(before.value), str(after.value)] == [CLOSED, CLOSED]


async def test_handler_can_be_opened_again_but_not_twice(log: list[str]) -> None:
    """A worker that restarts sets everything up anew."""
    handler = compiled(uses_pool, STATE, args=Sms)

    async with handler.opened():
        with pytest.raises(WrongState) as caught:
            async with handler.opened():
                pass
    async with handler.opened():
        assert await handler.service.call(make_task(Sms("1"))) == "pool of the state"

    assert str(caught.value) == "this handler is open already; a worker runs once at a time"
    assert log == ["pool up", "pool down"] * 2


async def test_worker_scoped_values_are_let_go_at_the_end() -> None:
    """A stopped worker keeps no pool alive."""
    alive: weakref.WeakSet[State] = weakref.WeakSet()

    def make() -> State:
        state = State("made")
        alive.add(state)
        return state

    async def send(email: Email, one: Annotated[State, Depends(make, scope="worker")]) -> str:
        return one.name

    handler = compiled(send)

    async with handler.opened():
        assert await handler.service.call(make_task()) == "made"
        assert len(alive) == 1
    gc.collect()

    assert len(alive) == 0


async def test_handler_without_worker_scoped_dependencies_needs_no_opening() -> None:
    """Nor is it harmed by it."""

    async def send(email: Email) -> str:
        return email.to

    handler = compiled(send)

    async with handler.opened():
        pass

    assert await handler.service.call(make_task()) == "ada@example.org"


async def test_worker_scoped_teardown_is_shielded(log: list[str]) -> None:
    """A worker that is cancelled still cleans up."""
    handler = compiled(uses_pool, STATE, args=Sms)

    with anyio.CancelScope() as scope:
        async with handler.opened():
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert log == ["pool up", "pool down"]


async def test_worker_scoped_set_up_that_fails_tears_down_the_others(log: list[str]) -> None:
    """The worker does not start."""

    async def broken(over: Annotated[str, Depends(pool, scope="worker")]) -> str:
        raise OSError(over)

    async def send(email: Email, one: Annotated[str, Depends(broken, scope="worker")]) -> None:
        LOG.append(one)

    handler = compiled(send, STATE)

    with pytest.raises(OSError, match="pool of the state"):
        async with handler.opened():
            pass

    assert log == ["pool up", "pool down"]
    with pytest.raises(WrongState):
        await handler.service.call(make_task())


async def test_worker_scoped_teardown_has_the_same_limit() -> None:
    """A worker ends although a dependency hangs."""

    async def hangs() -> AsyncIterator[str]:
        yield "value"
        await anyio.sleep_forever()

    async def send(email: Email, one: Annotated[str, Depends(hangs, scope="worker")]) -> None:
        LOG.append(one)

    handler = compiled(send, teardown_timeout=0)

    with pytest.raises(TeardownElapsed, match="'hangs' took longer than 0 s"):
        async with handler.opened():
            pass


async def test_one_function_may_serve_both_scopes() -> None:
    """They are two values."""
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    async def send(
        email: Email,
        a: Annotated[object, Depends(make)],
        b: Annotated[object, Depends(make, scope="worker")],
    ) -> None:
        assert a is not b

    await called(send)

    assert len(made) == 2


def test_injected_parameters_tell_where_their_values_come_from() -> None:
    """Those of dependencies too; `explain` prints them."""
    injected = compiled(uses_all, STATE).injected

    assert [(each.owner, each.parameter, each.source) for each in injected] == [
        ("uses_all", "a", "Depends(plain), per worker"),
        ("plain", "over", "Depends(cache), per worker"),
        ("cache", "over", "Depends(pool), per worker"),
        ("pool", "state", "WorkerBuilder.data"),
        ("uses_all", "b", "Depends(now), per attempt"),
        ("now", "over", "Depends(pool), per worker"),
        ("now", "attempt", "task.attempt"),
    ]
