"""Results with their types: what a handler is annotated to return."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import attrs
import pytest

from layered import (
    Abort,
    Attempt,
    DecodeFailed,
    MemoryStorage,
    NotDone,
    RetryAfter,
    Snooze,
    Status,
    WorkerBuilder,
)
from layered.backend import Claimant, Dead, Done, Failure, Settle, decoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal


@attrs.frozen
class Receipt:
    """What a handler answers."""

    number: int
    at: datetime


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECEIPT = Receipt(1, NOON)


async def receipt(args: str, attempt: Attempt) -> Receipt:
    """Answer a receipt."""
    return Receipt(attempt, NOON)


async def receipts(args: str) -> list[Receipt] | Abort | RetryAfter | Snooze:
    """Answer some, or an outcome."""
    return [RECEIPT]


def plain(args: str) -> Receipt | None:
    """Answer a receipt, in a thread."""
    return RECEIPT


async def nothing(args: str) -> None:
    """Answer nothing."""


async def noted(args: str) -> Annotated[Receipt, "a note"]:
    """Answer a receipt."""
    return RECEIPT


class Sender:
    """Its method is a handler."""

    async def send(self, args: str) -> Receipt:
        """Answer a receipt."""
        return RECEIPT


@functools.wraps(receipt)
async def wrapped(*args: Any, **more: Any) -> Any:
    """Pass on."""
    return await receipt(*args, **more)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (receipt, RECEIPT),
        (receipts, [RECEIPT]),
        (plain, RECEIPT),
        (nothing, None),
        (noted, RECEIPT),
        (Sender().send, RECEIPT),
        (functools.partial(functools.partial(receipt)), RECEIPT),
        (wrapped, RECEIPT),
    ],
    ids=["async", "outcomes", "plain", "none", "annotated", "method", "partial", "wrapped"],
)
async def test_result_is_what_the_handler_is_annotated_to_return(
    handler: Callable[..., Any], expected: object
) -> None:
    """Decoded from the store: equal, and of the same type."""
    storage = MemoryStorage(str)
    pushed = await storage.push("hello")
    worker: Any = WorkerBuilder("w").backend(storage).build(handler)
    await worker.run(burst=True)

    result: object = await storage.result(pushed.id, handler)

    assert result == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Receipt, RECEIPT),
        (Receipt | None, RECEIPT),
        (object, {"number": 1, "at": "2026-01-01T12:00:00Z"}),
    ],
    ids=str,
)
async def test_result_is_decoded_as_the_type_that_was_asked_for(form: Any, expected: Any) -> None:
    """A program that pushes need not have the handler."""
    storage = MemoryStorage(str)
    pushed = await storage.push("hello")
    await WorkerBuilder("w").backend(storage).build(receipt).run(burst=True)

    assert await storage.result(pushed.id, form) == expected


async def untyped(args):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - what is refused
    """Say nothing of what it answers."""


async def hidden(args: str) -> Decimal:
    """Answer what only checkers know of."""
    raise NotImplementedError


def lasting(args: str) -> Abort:
    """Answer nothing but an outcome."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (untyped, r"'untyped' has no return type that can be read: KeyError\('return'\)"),
        (hidden, r"'hidden' has no return type that can be read: NameError"),
        (lambda: 1, r"'<lambda>' has no return type"),
        (len, r"'len' has no return type"),
        (5, r"'5' gives no type to decode as: Type '5' is not supported"),
    ],
    ids=["untyped", "for checkers", "lambda", "built in", "value"],
)
async def test_result_of_what_gives_no_type_is_refused_before_waiting(of: Any, told: str) -> None:
    """The message names what was given, and the way out."""
    storage = MemoryStorage(str)
    pushed = await storage.push("hello")

    with pytest.raises(TypeError, match=told) as raised:
        await storage.result(pushed.id, of)

    assert "pass a type such as str, or a function that is annotated" in str(raised.value)


def test_return_type_of_outcomes_alone_is_left_as_it_is() -> None:
    """There is no result to decode; nor is that an error of whoever waits."""
    with pytest.raises(ValueError, match="Abort"):
        decoder(lasting)(b"5")


async def ended(storage: MemoryStorage[str], ending: Any) -> str:
    """Push a task, and end it."""
    pushed = await storage.push("hello")
    claimed = await storage.claim(Claimant("default", "us"), {"str": 1}, 1)
    await storage.settle([Settle(claimed.leases[0].fence, ending, 2)])
    return pushed.id


async def test_result_of_a_dead_task_is_an_error_with_its_last_failure() -> None:
    """Everything that is known of it, as attributes and in the message."""
    storage = MemoryStorage(str)
    task_id = await ended(storage, Dead(Failure("OSError", "no such host")))

    with pytest.raises(NotDone) as raised:
        await storage.result(task_id, str)

    error = raised.value
    assert str(error) == f"task 'str' {task_id} is dead after run 2: OSError: no such host"
    assert (error.task_id, error.name, error.status, error.attempt, error.failure) == (
        task_id,
        "str",
        Status.DEAD,
        2,
        Failure("OSError", "no such host"),
    )


async def test_result_of_a_cancelled_task_is_an_error() -> None:
    """It may have no failure at all."""
    storage = MemoryStorage(str)
    pushed = await storage.push("hello")
    await storage.cancel([pushed.id])

    with pytest.raises(NotDone, match=r"is cancelled after run 0$") as raised:
        await storage.result(pushed.id, str)

    assert raised.value.failure is None


@pytest.mark.parametrize(
    ("stored", "told"),
    [(b"5", r"Expected `str`, got `int`$"), (None, r"got `null`; none is stored$")],
    ids=["other", "none"],
)
async def test_result_that_does_not_fit_is_told_as_such(stored: bytes | None, told: str) -> None:
    """It may be of another version of the handler, or not kept any more."""
    storage = MemoryStorage(str)
    task_id = await ended(storage, Done(stored))

    with pytest.raises(DecodeFailed, match=told) as raised:
        await storage.result(task_id, str)

    assert f"decoding the result of task 'str' {task_id} failed" in str(raised.value)


async def test_result_of_no_task_is_a_key_error() -> None:
    """Nobody would ever answer."""
    with pytest.raises(KeyError, match="the store has no such task"):
        await MemoryStorage(str).result("01a20a50-3774-7275-88da-68529aac2d3e", str)


@pytest.mark.virtual_time
async def test_result_is_waited_for_as_long_as_was_said() -> None:
    """No longer, and an end in time is never missed."""
    storage = MemoryStorage(str)
    storage.__dict__["poll"] = 1000.0
    pushed = await storage.push("hello")

    with pytest.raises(TimeoutError, match="not ended within 5 s"):
        await storage.result(pushed.id, receipt, timeout=5)
    async with anyio.create_task_group() as group:
        worker = WorkerBuilder("w").backend(storage).build(receipt)
        group.start_soon(functools.partial(worker.run, burst=True))
        result = await storage.result(pushed.id, receipt, timeout=5)

    assert result == RECEIPT
    assert anyio.current_time() == pytest.approx(5, abs=0.1)
