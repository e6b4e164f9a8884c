"""
What it means when a handler ends with something that is no `Exception`.

A cancellation that has a reason, or comes from an enclosing scope, stays
in force until that scope is left, so it may be caught where it is looked
at. One that nobody asked for (an awaited future that was cancelled
already, a native ``task.cancel()``) must not kill the consumer that
happened to run the handler: it is the task's failure.
"""

from __future__ import annotations

from enum import Enum

import anyio

from layered.errors import StrayCancellation
from layered.task import Run


class Meaning(Enum):
    """What an error that is no `Exception` means."""

    REASON = "the worker cancelled this run, and the run knows why"
    ENCLOSING = "something around the consumer is cancelled"
    STRAY = "a cancellation that nobody asked for: the task has failed"
    STOP = "SystemExit, KeyboardInterrupt or the like: the program should end"


def meaning_of(error: BaseException, run: Run | None = None) -> Meaning:
    """
    Tell what *error*, raised by the handler of *run*, means; to be asked where it is caught.

    Without *run*: raised by other code of the user's, such as a listener.
    """
    cancelled = anyio.get_cancelled_exc_class()
    stops: BaseException | None = None if isinstance(error, cancelled) else error
    if isinstance(error, BaseExceptionGroup):
        # The group itself is asked about first.
        harmless = (Exception, cancelled, BaseExceptionGroup)
        stops, _ = error.split(lambda one: not isinstance(one, harmless))
    if stops is not None:
        return Meaning.STOP
    if run is not None and run.reason is not None:
        return Meaning.REASON
    if anyio.current_effective_deadline() == float("-inf"):
        return Meaning.ENCLOSING
    return Meaning.STRAY


def stray(error: BaseException, what: str = "the handler") -> StrayCancellation:
    """Make the failure of *what* ended with a stray cancellation, from *error*."""
    msg = (
        f"{what} ended with a cancellation that nobody asked for; did it await something that "
        "was already cancelled?"
    )
    failure = StrayCancellation(msg)
    if isinstance(error, BaseExceptionGroup):
        failure.__cause__ = error.split(Exception)[0]
    return failure
