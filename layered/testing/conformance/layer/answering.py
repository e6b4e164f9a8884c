"""Rules of what passes through a layer: requests, responses, errors, and the caller's context."""

from __future__ import annotations

from contextvars import copy_context

from layered.errors import Abort, Outcome, RetryAfter, Snooze
from layered.testing.conformance.layer.call import ended, until
from layered.testing.conformance.layer.suite import rule
from layered.testing.conformance.layer.trial import MANY, Trial
from layered.testing.conformance.rule import RuleBroken, equal, true


class Leaving(BaseException):
    """Something that is no `Exception`, as an interrupt from the keyboard is none."""


@rule
async def takes_requests_of_the_type_that_it_declares(trial: Trial) -> None:
    """A layer takes any request, unless its `request_type` says what it needs."""
    call = await trial.ask()

    true(call.error is None, f"it takes {call.request!r}, and does not raise {call.error!r}")


@rule
async def answers_with_the_inner_response(trial: Trial) -> None:
    """A caller gets what the inner service answered, the same object."""
    call = await trial.ask()

    call.answered()


@rule
async def passes_the_request_on(trial: Trial) -> None:
    """The inner service gets the caller's request, the same object."""
    call = await trial.ask()

    true(call.started, "the inner service is called")
    for received in call.received:
        true(received is call.request, f"{call.request!r} is passed on, and not {received!r}")


@rule
async def passes_errors_on(trial: Trial) -> None:
    """An error of the inner service reaches the caller as the same object."""
    trial.inner.error = error = trial.subject.error()

    call = await trial.ask()

    _raised(call.error, error)


@rule
async def passes_outcomes_on(trial: Trial) -> None:
    """
    `Abort`, `Snooze` and `RetryAfter` reach the caller as the same object.

    What acts on `RetryAfter`, as a retry does, may raise an outcome made from it.
    """
    for outcome in (Abort("no"), Snooze(5), RetryAfter(0.1)):
        here = trial.another()
        here.inner.error = outcome

        call = await here.ask()

        acted = isinstance(call.error, Outcome) and call.error.__cause__ is outcome
        if not (acted and isinstance(outcome, RetryAfter)):
            _raised(call.error, outcome)


@rule
async def passes_base_exceptions_on(trial: Trial) -> None:
    """What is no `Exception` passes as the same object, and leaves the service as it was."""
    trial.inner.error = leaving = Leaving("now")
    call = trial.call()

    try:
        await call.run()
    except Leaving as found:
        true(found is leaving, f"{leaving!r} passes as the same object")
    else:
        msg = f"the inner {leaving!r} became {_end(call.error)}"
        raise RuleBroken(msg)
    await trial.unharmed()


@rule
async def gives_back_what_a_call_took(trial: Trial) -> None:
    """After a call that was answered, or failed, there is as much room as before it."""
    for error in (None, trial.subject.error()):
        trial.inner.error = error
        await trial.ask()
        await trial.unharmed()


@rule
async def answers_calls_at_once_each_with_its_own_response(trial: Trial) -> None:
    """Of 100 calls at once each gets the response to its own request, whatever ends first."""
    calls = [trial.start() for _ in range(MANY)]
    for call in calls:
        call.steps = call.number * 7 % 11

    await until(ended(calls), f"all of {MANY} calls at once end")

    for call in calls:
        call.answered(f" (number {call.number} of {MANY})")


@rule
async def leaves_the_context_of_the_caller_as_it_was(trial: Trial) -> None:
    """A context variable that the layer sets for the inner service is reset after it."""
    for error in (None, trial.subject.error()):
        trial.inner.error = error
        before = dict(copy_context())

        await trial.ask()

        changed = [name for name, value in copy_context().items() if before.get(name) is not value]
        equal(changed, [], "what the call left behind in the caller's context")


def _raised(found: Exception | None, error: Exception) -> None:
    if found is not error:
        msg = f"the inner {error!r} became {_end(found)}"
        raise RuleBroken(msg) from found


def _end(error: Exception | None) -> str:
    return "an answer" if error is None else repr(error)
