"""Generator dependencies: each row of the table in layered/handler/teardown.py, and their order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any

import anyio
import pytest

from layered.errors import Abort, StrayCancellation
from layered.extractors import Depends
from layered.handler import TeardownElapsed
from tests.handler.parts import Email, called, compiled, make_task


class Log(list[str]):
    """What happened, in order, and how the handler ends."""

    def __init__(self) -> None:
        self.error: BaseException | None = None


LOG = Log()


@pytest.fixture(autouse=True)
def log() -> Log:
    """Give an empty log."""
    LOG.clear()
    LOG.error = None
    return LOG


def sync_one() -> Iterator[str]:
    """Set up and tear down, and note both."""
    LOG.append("sync up")
    try:
        yield "sync"
    except BaseException as error:
        LOG.append(f"sync saw {type(error).__name__}")
        raise
    finally:
        LOG.append("sync down")


async def async_one(before: Annotated[str, Depends(sync_one)]) -> AsyncIterator[str]:
    """Set up and tear down, and note both."""
    LOG.append(f"async up after {before}")
    try:
        yield "async"
    except BaseException as error:
        LOG.append(f"async saw {type(error).__name__}")
        raise
    finally:
        await anyio.lowlevel.checkpoint()
        LOG.append("async down")


async def handle(email: Email, one: Annotated[str, Depends(async_one)]) -> str:
    """End as the test wants."""
    LOG.append("handler")
    if LOG.error is not None:
        raise LOG.error
    return one


async def test_dependencies_are_torn_down_in_reverse_order(log: Log) -> None:
    """What was set up last ends first, before the caller sees the result."""
    assert await called(handle) == "async"

    assert log == ["sync up", "async up after sync", "handler", "async down", "sync down"]


async def test_dependencies_see_the_handler_error(log: Log) -> None:
    """As the body of a ``with`` block would raise it."""
    log.error = ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        await called(handle)

    assert caught.value is log.error
    assert log[3:] == ["async saw ValueError", "async down", "sync saw ValueError", "sync down"]


async def returns_abort(email: Email, one: Annotated[str, Depends(sync_one)]) -> Abort:
    """Return an outcome."""
    return Abort("returned")


async def test_dependencies_see_a_returned_outcome(log: Log) -> None:
    """It is the same as a raised one: a transaction is rolled back."""
    with pytest.raises(Abort, match="returned"):
        await called(returns_abort)

    assert log == ["sync up", "sync saw Abort", "sync down"]


async def test_dependencies_are_torn_down_when_the_handler_is_cancelled(log: Log) -> None:
    """The async teardown awaits although its task is cancelled: it is shielded."""

    async def wait(email: Email, one: Annotated[str, Depends(async_one)]) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await called(wait)

    assert scope.cancelled_caught
    assert [line for line in log if "down" in line] == ["async down", "sync down"]


async def async_swallows() -> AsyncIterator[None]:
    """Hide the error."""
    with suppress(BaseException):
        yield


def sync_swallows() -> Iterator[None]:
    """Hide the error."""
    with suppress(BaseException):
        yield


async def async_fails() -> AsyncIterator[None]:
    """Fail at the end, however the handler ended."""
    try:
        yield
    finally:
        raise RuntimeError("teardown failed")


def sync_fails() -> Iterator[None]:
    """Fail at the end, however the handler ended."""
    try:
        yield
    finally:
        raise RuntimeError("teardown failed")


def around(dependency: Callable[..., Any], error: BaseException | None = None) -> Any:
    """Make a handler inside *dependency* that ends with *error*, or well."""

    async def inside(email: Email, one: Annotated[object, Depends(dependency)]) -> str:
        if error is not None:
            raise error
        return "result"

    return inside


BOTH_SWALLOW = pytest.mark.parametrize("dependency", [async_swallows, sync_swallows])
BOTH_FAIL = pytest.mark.parametrize("dependency", [async_fails, sync_fails])


@BOTH_SWALLOW
async def test_swallowed_error_is_still_the_failure(dependency: Callable[..., Any]) -> None:
    """A dependency cannot turn a failure into a success."""
    error = ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        await called(around(dependency, error))

    assert caught.value is error


@BOTH_FAIL
async def test_teardown_error_after_a_success_fails_the_run(dependency: Callable[..., Any]) -> None:
    """What the dependency promised (a commit) did not happen."""
    with pytest.raises(RuntimeError, match="teardown failed"):
        await called(around(dependency))


@BOTH_FAIL
async def test_teardown_error_after_a_failure_is_a_note(dependency: Callable[..., Any]) -> None:
    """The first failure is the one that counts."""
    error = ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        await called(around(dependency, error))

    assert caught.value is error
    assert caught.value.__notes__ == [
        (
            f"tearing down dependency '{dependency.__name__}' also failed: "
            "RuntimeError('teardown failed')"
        )
    ]


@BOTH_SWALLOW
async def test_swallowed_cancellation_is_still_a_cancellation(
    dependency: Callable[..., Any],
) -> None:
    """The scope that was cancelled gets its cancellation."""

    async def wait(email: Email, one: Annotated[None, Depends(dependency)]) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await called(wait)

    assert scope.cancelled_caught


@BOTH_FAIL
async def test_teardown_error_after_a_cancellation_is_a_note(
    dependency: Callable[..., Any],
) -> None:
    """It does not hide that the run was cancelled."""
    notes: list[str] = []

    async def wait(email: Email, one: Annotated[None, Depends(dependency)]) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        try:
            await called(wait)
        except anyio.get_cancelled_exc_class() as error:
            notes += error.__notes__
            raise

    assert scope.cancelled_caught
    assert [f"'{dependency.__name__}'" in note for note in notes] == [True]


def test_cancellation_that_came_from_no_scope_goes_on() -> None:
    """`asyncio.Task.cancel`: the dependency passes it on, and so does the call."""

    async def stray(email: Email, one: Annotated[str, Depends(async_one)]) -> None:
        raise asyncio.CancelledError(one)

    with pytest.raises(asyncio.CancelledError, match="async"):
        asyncio.run(called(stray))


async def async_limits() -> AsyncIterator[anyio.CancelScope]:
    """Hold a scope of its own open across the yield."""
    with anyio.CancelScope() as scope:
        yield scope


def sync_limits() -> Iterator[anyio.CancelScope]:
    """Hold a scope of its own open across the yield."""
    with anyio.CancelScope() as scope:
        yield scope


@pytest.mark.parametrize("dependency", [async_limits, sync_limits])
async def test_cancellation_by_the_dependency_itself_is_a_failure(
    dependency: Callable[..., Any],
) -> None:
    """It ends inside the dependency, so the run has no result and nobody was cancelled."""

    async def wait(email: Email, scope: Annotated[anyio.CancelScope, Depends(dependency)]) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with pytest.raises(StrayCancellation) as caught:
        await called(wait)

    assert str(caught.value) == (
        f"dependency '{dependency.__name__}' cancelled the handler, or hid that it was cancelled"
    )


async def crashing_group() -> AsyncIterator[anyio.Event]:
    """Hold a task group open whose child fails while the handler runs."""
    go = anyio.Event()

    async def crash() -> None:
        await go.wait()
        raise ValueError("child")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crash)
        yield go


async def test_failure_inside_a_dependency_replaces_the_cancellation_it_caused() -> None:
    """A task group held open by a dependency works as in a ``with`` block."""

    async def wait(email: Email, go: Annotated[anyio.Event, Depends(crashing_group)]) -> None:
        go.set()
        await anyio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await called(wait)

    assert [str(error) for error in caught.value.exceptions] == ["child"]


async def test_task_group_of_a_dependency_is_closed_after_a_success() -> None:
    """Its scope is not left inside the one that shields the teardown."""
    ended: list[str] = []

    async def group() -> AsyncIterator[None]:
        async def child() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("child")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            await anyio.lowlevel.checkpoint()
            yield
            tasks.cancel_scope.cancel()

    async def send(email: Email, one: Annotated[None, Depends(group)]) -> str:
        return "result"

    assert await called(send) == "result"
    assert ended == ["child"]


async def hangs() -> AsyncIterator[str]:
    """Never end."""
    LOG.append("hangs up")
    yield "hangs"
    try:
        await anyio.sleep_forever()
    finally:
        LOG.append("hangs cancelled")


async def stubborn() -> AsyncIterator[None]:
    """Never end, and hide that it was cancelled."""
    yield
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        LOG.append("stubborn cancelled")


ELAPSED = (
    "tearing down dependency {!r} took longer than 0 s and was cancelled; "
    "make it shorter or raise the worker's teardown_timeout"
)


@pytest.mark.parametrize("dependency", [hangs, stubborn])
async def test_teardown_beyond_its_limit_fails_the_run(
    dependency: Callable[..., Any], log: Log
) -> None:
    """It is cancelled, and the error says which one and how long it had."""
    handler = compiled(around(dependency), teardown_timeout=0)

    with pytest.raises(TeardownElapsed) as caught:
        await handler.service.call(make_task())

    assert str(caught.value) == ELAPSED.format(dependency.__name__)
    assert isinstance(caught.value, TimeoutError)
    assert log[-1] == f"{dependency.__name__} cancelled"
    await anyio.lowlevel.checkpoint()  # the cancellation has not leaked out


@pytest.mark.virtual_time
async def test_teardown_has_as_long_as_its_limit_says() -> None:
    """Counted from its own beginning, however long the handler took."""
    began = anyio.current_time()

    async def slow() -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    async def handle(email: Email, it: Annotated[None, Depends(slow)]) -> None:
        await anyio.sleep(100)

    handler = compiled(handle, teardown_timeout=7)

    with pytest.raises(TeardownElapsed, match="took longer than 7 s"):
        await handler.service.call(make_task())

    assert anyio.current_time() - began == pytest.approx(107)


async def test_interrupt_of_a_teardown_beyond_its_limit_is_raised() -> None:
    """What is to end the process is never replaced."""

    async def interrupted() -> AsyncIterator[None]:
        yield
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    handler = compiled(around(interrupted), teardown_timeout=0)

    with pytest.raises(KeyboardInterrupt):
        await handler.service.call(make_task())


async def test_teardown_beyond_its_limit_after_a_failure_is_a_note() -> None:
    """As any teardown error."""

    async def hangs_always() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await anyio.sleep_forever()

    handler = compiled(around(hangs_always, ValueError("mine")), teardown_timeout=0)

    with pytest.raises(ValueError, match="mine") as caught:
        await handler.service.call(make_task())

    assert "took longer than 0 s" not in str(caught.value)
    assert "TeardownElapsed('hangs_always', 0)" in caught.value.__notes__[0]


@pytest.mark.virtual_time
async def test_hanging_teardown_leaves_the_others_their_own_time(log: Log) -> None:
    """Each has its limit, so one that hangs costs no other its clean end."""

    async def awaits(inner: Annotated[str, Depends(async_one)]) -> AsyncIterator[str]:
        del inner
        yield "outer"
        await anyio.sleep_forever()

    with pytest.raises(TeardownElapsed):
        await called(around(awaits))

    assert log[2:] == [
        "async saw TeardownElapsed",
        "async down",
        "sync saw TeardownElapsed",
        "sync down",
    ]


async def test_cancellation_during_set_up_tears_down_what_was_set_up(log: Log) -> None:
    """The handler never runs."""

    async def slow(one: Annotated[str, Depends(async_one)]) -> str:
        scope.cancel()
        await anyio.sleep_forever()
        return one

    with anyio.CancelScope() as scope:
        await called(around(slow))

    assert scope.cancelled_caught
    assert [line for line in log if "down" in line] == ["async down", "sync down"]


async def test_failure_during_set_up_tears_down_what_was_set_up(log: Log) -> None:
    """Also that of a generator before its yield, and the scope around it is left."""

    async def fails(one: Annotated[str, Depends(async_one)]) -> AsyncIterator[str]:
        if one:
            raise OSError("no connection")
        yield one

    with pytest.raises(OSError, match="no connection"):
        await called(around(fails))

    assert log[2:] == ["async saw OSError", "async down", "sync saw OSError", "sync down"]
    await anyio.lowlevel.checkpoint()


async def test_teardown_runs_in_the_task_that_set_up() -> None:
    """Task groups and context variables depend on it."""
    tasks: list[int] = []

    async def noting() -> AsyncIterator[None]:
        tasks.append(anyio.get_current_task().id)
        yield
        tasks.append(anyio.get_current_task().id)

    await called(around(noting))

    assert tasks == [anyio.get_current_task().id] * 2


def interrupts() -> Iterator[None]:
    """Be interrupted while cleaning up."""
    try:
        yield
    finally:
        raise KeyboardInterrupt


async def async_interrupts() -> AsyncIterator[None]:
    """Be interrupted while cleaning up."""
    try:
        yield
    finally:
        raise KeyboardInterrupt


@pytest.mark.parametrize("dependency", [interrupts, async_interrupts])
async def test_interrupt_during_teardown_is_no_note(dependency: Callable[..., Any]) -> None:
    """What is to end the process is never hidden behind a failure."""
    with pytest.raises(KeyboardInterrupt):
        await called(around(dependency, ValueError("mine")))


async def test_no_teardown_machinery_without_generators() -> None:
    """A handler pays for nothing that it does not use."""

    async def plain() -> str:
        return "value"

    names = compiled(around(plain)).service.call.__code__.co_names

    assert not {"Held", "HeldSync", "lifetime"} & set(names)
