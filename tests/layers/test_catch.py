from collections.abc import Callable

import anyio
import pytest

from layered import Abort, BuildError, CatchLayer, Outcome, RetryAfter, Snooze
from tests.layers.inner import Scripted, Sleepy


class Broken(Exception):
    """An error of the test's own, to be made of a text."""


async def test_catch_turns_any_exception_into_abort_by_default() -> None:
    """A failure becomes terminal, with its text and its cause."""
    error = KeyError("name")
    service = CatchLayer().layer(Scripted(error))

    with pytest.raises(Abort) as caught:
        await service.call("x")

    assert caught.value.reason == "KeyError: 'name'"
    assert caught.value.__cause__ is error


async def test_catch_answers_a_value_as_it_is() -> None:
    """Nothing happens to success."""
    assert await CatchLayer().layer(Scripted("fine")).call("x") == "fine"


async def test_catch_passes_errors_that_are_not_listed() -> None:
    """Only what was named is caught; the rest is the same object."""
    error = ValueError("not mine")
    service = CatchLayer(KeyError, OSError).layer(Scripted(error))

    with pytest.raises(ValueError, match="not mine") as caught:
        await service.call("x")

    assert caught.value is error


async def test_catch_catches_subclasses_of_what_is_listed() -> None:
    """As `except` does."""
    service = CatchLayer(KeyError, OSError, into=Broken).layer(Scripted(FileNotFoundError("gone")))

    with pytest.raises(Broken, match="FileNotFoundError: gone"):
        await service.call("x")


@pytest.mark.parametrize("outcome", [Abort("no"), RetryAfter(5), Snooze(5)], ids=repr)
async def test_catch_passes_outcomes(outcome: Outcome) -> None:
    """They say already how the task goes on."""
    service = CatchLayer(into=Broken).layer(Scripted(outcome))

    with pytest.raises(Outcome) as caught:
        await service.call("x")

    assert caught.value is outcome


@pytest.mark.parametrize("listed", [RetryAfter, Outcome])
async def test_catch_catches_outcomes_that_are_listed(listed: type[Exception]) -> None:
    """Whoever names one means it."""
    service = CatchLayer(Exception, listed, into=Broken).layer(Scripted(RetryAfter(5)))

    with pytest.raises(Broken, match="RetryAfter"):
        await service.call("x")


@pytest.mark.virtual_time
async def test_catch_passes_cancellation() -> None:
    """Catching everything does not catch the order to stop; the service stays usable."""
    service = CatchLayer(into=Broken).layer(Sleepy())

    with anyio.move_on_after(1) as scope:
        await service.call(60)

    assert scope.cancelled_caught
    assert await service.call(1) == "slept 1"


@pytest.mark.parametrize(
    "make",
    [
        lambda: CatchLayer(BaseException),  # type: ignore[arg-type]  # wrong on purpose
        lambda: CatchLayer(KeyboardInterrupt),  # type: ignore[arg-type]  # wrong on purpose
        lambda: CatchLayer("ValueError"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: CatchLayer(ValueError, into=None),  # type: ignore[arg-type]  # wrong on purpose
    ],
    ids=["BaseException", "KeyboardInterrupt", "text", "into"],
)
def test_catch_layer_is_refused_when_it_would_catch_too_much(
    make: Callable[[], CatchLayer],
) -> None:
    """Cancellation and exits must pass, so they cannot even be named."""
    with pytest.raises(BuildError, match="CatchLayer"):
        make()


def test_catch_layer_names_all_problems_at_once() -> None:
    """One run, one list."""
    with pytest.raises(BuildError) as caught:
        CatchLayer(BaseException, int, into=3)  # type: ignore[arg-type]  # wrong on purpose

    assert len(caught.value.problems) == 3
