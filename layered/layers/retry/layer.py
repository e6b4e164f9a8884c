"""
`RetryLayer`: runs a call again, by tenacity's policies.

tenacity's ``stop``, ``wait`` and ``retry`` objects say what to do; they
are asked after a failure and never drive the call, so a call that succeeds
costs one ``try``.

Two speeds: a wait of up to *hold* seconds sleeps here, inside the lease. A
longer one raises `RetryAfter`, by which a worker gives the task back to the
store: the slot is free and a restart forgets nothing. Around a push, and
around requests that are no tasks, there is only the first.

One ledger: the runs of a claimed task are counted in its `Run`, across
workers. Each run in here is charged before it begins.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import anyio
import attrs
import tenacity
from anyio.lowlevel import checkpoint
from tenacity import RetryCallState

from layered.errors import Abort, BuildError, LayeredError, Outcome, RetryAfter
from layered.layers.retry.policy import (
    ON_ERRORS_ONLY,
    WITHOUT_TIME,
    Retryable,
    Stop,
    Wait,
    all_of,
    problems,
    shown,
)
from layered.service import Middleware, Service
from layered.service.clock import loop_clock
from layered.task import Run, Settling, Task

Req = TypeVar("Req")
Res = TypeVar("Res")


class RetriesExhausted(LayeredError):
    """
    The policy refused the result of the last run that it allows.

    Only of a policy that looks at results; a last *error* is raised as it is.

    Args:
        value: The last result.
        runs: Number of runs.
    """

    def __init__(self, value: object, runs: int) -> None:
        super().__init__(value, runs)
        self.value = value
        self.runs = runs

    def __str__(self) -> str:
        """Give the number of runs, never the value: it may be secret."""
        return f"the retry policy refused the result of run {self.runs}, the last that it allows"


class Retry(Middleware[Req, Res]):
    """Runs a call again after failures; made by `RetryLayer`."""

    __slots__ = ("_checks_results", "_needs_start", "policy", "retrying")

    def __init__(self, policy: RetryLayer, inner: Service[Req, Res], /) -> None:
        super().__init__(inner)
        self.policy = policy
        self.retrying = tenacity.AsyncRetrying(
            stop=policy.stop, wait=policy.wait, retry=policy.retry, reraise=True
        )
        """What policies find as ``retry_object``; never run."""
        self._checks_results = not all_of(policy.retry, ON_ERRORS_ONLY)
        self._needs_start = self._checks_results or not (
            all_of(policy.stop, WITHOUT_TIME) and all_of(policy.wait, WITHOUT_TIME)
        )

    async def call(self, request: Req, /) -> Res:
        """
        Call the inner service until it succeeds or the policy ends it.

        Raises:
            Exception: the last error, the same object with a note.
            RetryAfter: from the last error, if the task is to wait longer than *hold*.
            Abort: from a `RetryAfter` of the handler that the policy allows no more.
            RetriesExhausted: if the policy refused the last result.

        Cancellation:
            Passes through, also in a wait; nothing is run again.
        """
        start = loop_clock()() if self._needs_start else None
        series: _Series | None = None
        while True:
            try:
                result = await self.inner.call(request)
            except Exception as error:
                series = series or _Series(self, request, start)
                if not series.runs_again_after(error):
                    raise
            else:
                if not self._checks_results:
                    return result
                series = series or _Series(self, request, start)
                if series.accepts(result):
                    return result
            await series.rest()

    def __repr__(self) -> str:
        """Show policy and inner service."""
        return f"Retry({self.policy!r}, {self.inner!r})"


class _Series:
    """The runs of one call: tenacity's record of them, and the decisions."""

    __slots__ = ("_clock", "_last", "_policy", "_run", "_state")

    def __init__(self, service: Retry[Any, Any], request: object, start: float | None) -> None:
        self._policy = service.policy
        self._clock = loop_clock()
        self._run: Run | None = None
        self._state = state = RetryCallState(service.retrying, None, (request,), {})
        if isinstance(request, Task) and request.claimed:
            self._run = request.run
            state.attempt_number = request.run.attempt
        state.start_time = self._clock() if start is None else start
        self._last: Exception

    def runs_again_after(self, error: Exception) -> bool:
        """Tell whether to run again; `False`: raise *error* as it is."""
        state = self._state
        state.set_exception((type(error), error, error.__traceback__))
        state.outcome_timestamp = self._clock()
        self._last = error
        asked = error if isinstance(error, RetryAfter) else None
        if self._ended() or (isinstance(error, Outcome) and not asked):
            return False
        if not asked and not self._policy.retry(state):
            return False
        delay = state.upcoming_sleep = asked.delay if asked else self._wait()
        if bound := self._bound():
            text = f"run {state.attempt_number} was the last that {bound} allows"
            if asked:
                # As it is, it would bring the task back for ever.
                reason = f"{asked}; {text}"
                raise Abort(reason) from error
            error.add_note(text)
            return False
        if self._is_long(delay) and not asked:
            reason = f"{type(error).__qualname__}: {error}"
            raise RetryAfter(delay, reason) from error
        return not self._is_long(delay)

    def accepts(self, result: object) -> bool:
        """Tell whether *result* ends the call; `False`: run again."""
        state = self._state
        state.set_result(result)
        state.outcome_timestamp = self._clock()
        if self._ended() or not self._policy.retry(state):
            return True
        self._last = RetriesExhausted(result, state.attempt_number)
        delay = state.upcoming_sleep = self._wait()
        if self._bound():
            raise self._last
        if self._is_long(delay):
            raise RetryAfter(delay, "the retry policy refused the result")
        return False

    async def rest(self) -> None:
        """
        Charge the next run, and wait for it.

        Cancellation:
            In the wait: nothing is run again.
        """
        state, run = self._state, self._run
        state.idle_for += state.upcoming_sleep
        state.prepare_for_next_attempt()
        if run is not None:
            # Before the wait: a drain that cancels it gives one run back, which must be the
            # one that has not begun, not the one that has failed.
            run.attempt += 1
        await anyio.sleep(state.upcoming_sleep)
        if self._ended():
            # Cancelled in the very turn in which the sleep ended, which could not tell any more.
            await checkpoint()
            raise self._last

    def _ended(self) -> bool:
        run = self._run
        return run is not None and (run.settling is not Settling.OPEN or run.reason is not None)

    def _wait(self) -> float:
        return max(0.0, float(self._policy.wait(self._state)))

    def _bound(self) -> str | None:
        """Name what allows no further run, if anything does."""
        most = self._run.record.max_attempts if self._run is not None else None
        if most is not None and self._state.attempt_number >= most:
            return f"the task's max_attempts={most}"
        return "its RetryLayer" if self._policy.stop(self._state) else None

    def _is_long(self, delay: float) -> bool:
        return self._run is not None and delay > self._policy.hold


def _stop(stop: int | Stop) -> Stop:
    return tenacity.stop_after_attempt(stop) if isinstance(stop, int) else stop


@attrs.frozen
class RetryLayer:
    """
    Run a call again while it fails.

    ``RetryLayer()`` is at most three runs, 0.5 to 1 s and 1 to 1.5 s
    apart, after any `Exception`. `Abort` and `Snooze` are never retried; a
    handler's `RetryAfter` is: as often as *stop* allows, after its delay.

    Put it around a `TimeoutLayer` to retry what took too long, and put one
    only in a stack.

    Args:
        stop: At most so many runs, 1 or more; or one of tenacity's
            ``stop`` objects, or a callable like them.
        wait: Seconds between runs: one of tenacity's ``wait`` objects, or
            a callable like them.
        retry: What to run again: one of tenacity's ``retry`` objects, or a
            callable like them. Other than those on exceptions they are
            asked about results as well.
        hold: A task that is to wait longer, in seconds, goes back to the
            store meanwhile; 0 or more.

    What they are given is a `tenacity.RetryCallState`. Its
    ``attempt_number`` counts all runs of a claimed task, 1 on the first;
    its times are of the loop's clock and of this delivery: with waits
    longer than *hold* limit a task's whole time with ``expires_at``,
    not with a ``stop`` by time.

    Raises:
        BuildError: if one of them is no policy, or is async.

    Source: tower ``RetryLayer``; https://tenacity.readthedocs.io
    """

    single: ClassVar[bool] = True

    stop: Stop = attrs.field(default=tenacity.stop_after_attempt(3), converter=_stop, repr=shown)
    wait: Wait = attrs.field(
        default=tenacity.wait_exponential(multiplier=0.5, max=60) + tenacity.wait_random(0, 0.5),
        repr=shown,
    )
    retry: Retryable = attrs.field(default=tenacity.retry_if_exception_type(), repr=shown)
    hold: float = 1.0

    def __attrs_post_init__(self) -> None:
        """Find all problems at once."""
        policies = {"stop": self.stop, "wait": self.wait, "retry": self.retry}
        found = [text for name, policy in policies.items() for text in problems(name, policy)]
        if not self.hold >= 0:
            found.append(f"'hold' must be 0 or more seconds, got {self.hold!r}")
        if found:
            raise BuildError("RetryLayer", found)

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put a `Retry` around *inner*."""
        return Retry(self, inner)
