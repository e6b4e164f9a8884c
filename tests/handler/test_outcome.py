"""What a handler returns, as layers see it."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from layered.errors import Abort, Outcome, RetryAfter, Snooze
from layered.task import Task
from tests.handler.parts import Email, called, compiled, make_task


@attrs.frozen
class Answer:
    outcome: object

    def into_outcome(self) -> object:
        return self.outcome


@attrs.frozen
class Plain:
    text: str


@pytest.mark.parametrize(
    "result",
    [None, False, True, 0, "", b"x", [], {"a": 1}, Decimal(1), timedelta(1), Plain("a"), Plain],
    ids=repr,
)
async def test_ordinary_result_is_passed_on(result: object) -> None:
    """Also those that are false, and objects of the user's own."""

    async def send(email: Email) -> object:
        return result

    assert await called(send) is result


@pytest.mark.parametrize(
    "outcome", [Abort("no"), RetryAfter(5), Snooze(timedelta(minutes=1))], ids=repr
)
async def test_returned_outcome_is_raised(outcome: Outcome) -> None:
    """Layers see one exception, whether the handler returned or raised it."""

    async def returns(email: Email) -> Outcome:
        return outcome

    async def raises(email: Email) -> None:
        raise outcome

    def in_a_thread(email: Email) -> Outcome:
        return outcome

    class Serves:
        async def call(self, request: Task[Email]) -> Outcome:
            return outcome

    for handler in (returns, raises, in_a_thread, Serves()):
        with pytest.raises(Outcome) as caught:
            await called(handler)
        assert caught.value is outcome


async def test_returned_outcome_class_is_raised() -> None:
    """``return Abort`` means what ``raise Abort`` means."""

    async def send(email: Email) -> object:
        return Abort

    with pytest.raises(Abort, match="aborted"):
        await called(send)


async def test_value_with_into_outcome_is_converted_to_a_result() -> None:
    """What it answers is the result."""

    async def send(email: Email) -> Answer:
        return Answer("done")

    assert await called(send) == "done"


async def test_value_with_into_outcome_is_converted_to_an_outcome() -> None:
    """An outcome that it answers is raised."""

    async def send(email: Email) -> Answer:
        return Answer(Abort("from the answer"))

    with pytest.raises(Abort, match="from the answer"):
        await called(send)


async def test_class_with_into_outcome_is_a_result() -> None:
    """Only its instances can be converted."""

    async def send(email: Email) -> object:
        return Answer

    assert await called(send) is Answer


class Promise:
    def __await__(self) -> Iterator[None]:
        return iter(())


def returns_promise(email: Email) -> Promise:
    """Return an awaitable that is no coroutine."""
    return Promise()


async def later() -> None:
    """Be awaited."""


def forgets_await(email: Email) -> Any:
    """Return a coroutine."""
    return later()


async def forgets_await_too(email: Email) -> Any:
    """Return a coroutine."""
    return later()


def numbers() -> Iterator[int]:
    """Yield."""
    yield 1


async def async_numbers() -> AsyncIterator[int]:
    """Yield."""
    yield 1


def returns_generator(email: Email) -> object:
    """Return a generator."""
    return numbers()


async def returns_async_generator(email: Email) -> object:
    """Return an async generator."""
    return async_numbers()


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        pytest.param(
            forgets_await,
            "handler 'forgets_await' returned 'coroutine', which nobody has awaited; make the "
            "handler an 'async def' and await it there",
            id="coroutine of a plain function",
        ),
        pytest.param(
            forgets_await_too,
            "handler 'forgets_await_too' returned 'coroutine', which nobody has awaited; make the "
            "handler an 'async def' and await it there",
            id="coroutine",
        ),
        pytest.param(
            returns_promise,
            "handler 'returns_promise' returned 'Promise', which nobody has awaited; make the "
            "handler an 'async def' and await it there",
            id="awaitable",
        ),
        pytest.param(
            returns_generator,
            "handler 'returns_generator' returned 'generator', which nobody has run; go through it "
            "in the handler and return the result",
            id="generator",
        ),
        pytest.param(
            returns_async_generator,
            "handler 'returns_async_generator' returned 'async_generator', which nobody has run; "
            "go through it in the handler and return the result",
            id="async generator",
        ),
    ],
)
async def test_result_that_still_has_to_run_is_an_error(handler: object, message: str) -> None:
    """It would be lost without a word."""
    with pytest.raises(TypeError) as caught:
        await called(handler)

    assert str(caught.value) == message


async def test_handler_error_passes_as_the_same_object() -> None:
    """Nothing is put around it."""
    error = ValueError("mine")

    async def send(email: Email) -> None:
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        await compiled(send).service.call(make_task())

    assert caught.value is error
    assert caught.value.__cause__ is None
