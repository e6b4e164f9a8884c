"""From a value or an exception to what is written: the only place that decides it."""

from __future__ import annotations

import traceback
from typing import Any, TypeAlias

from layered.backend import (
    MAX_ERROR,
    Cancelled,
    Dead,
    Done,
    Failure,
    Release,
    Retry,
    Settle,
)
from layered.errors import Abort, DeadlineExceeded, NewerVersion, Outcome, RetryAfter, Snooze
from layered.task import JSON, CancelReason, Fence, Lease, Run, Settling

Write: TypeAlias = Settle | Release | None
"""What to write for a run; `None` for nothing."""

NEWER_DELAY = 60.0
"""Seconds between looks at a task that only a newer program can decode."""

NEWER_CLAIMS = 60
"""Claims after which such a task is dead: an hour at the most."""

_encode: Any = JSON.encoder(object)


def write_of_value(run: Run, value: object, limit: int) -> tuple[Write, str | None]:
    """
    Decide what to write for a run that answered *value*.

    A handler that finished although it was cancelled keeps its result, if
    the fence still holds. A result that cannot be stored is dropped, since
    running again could not mend it.

    Returns:
        The write, and why the result was dropped, if it was.
    """
    if run.settling is not Settling.OPEN:
        return None, None
    fence = _fence_of(run)
    if value is None:
        return Settle(fence, _DONE, run.attempt), None
    result, dropped = encode_result(value, limit)
    return Settle(fence, Done(result), run.attempt), dropped


_DONE = Done(None)


def _fence_of(run: Run) -> Fence:
    lease = run.record
    assert isinstance(lease, Lease)  # noqa: S101 - what is pushed is written by nobody here
    return lease.fence


def encode_result(value: object, limit: int) -> tuple[bytes | None, str | None]:
    """Encode a handler's result; answer `None` and the reason if it cannot be stored."""
    try:
        result: bytes = _encode(value)
    except Exception as error:  # noqa: BLE001 - whatever a user's value raises
        return None, f"a value of type {type(value).__name__!r} cannot be encoded as JSON: {error}"
    if len(result) > limit:
        return None, f"it takes {len(result)} bytes, the limit is {limit}"
    return result, None


def write_of_error(run: Run, error: BaseException, deadline: float | None) -> Write:
    """
    Decide what to write for a run that raised *error*.

    An outcome says it itself. Otherwise the reason of a cancellation
    decides, since an error that a cancelled handler raises comes of it.
    Every other error is final: a `RetryLayer` is what makes it another run.
    """
    if run.settling is not Settling.OPEN:
        return None
    fence, attempt = _fence_of(run), run.attempt
    if isinstance(error, Outcome):
        return _write_of_outcome(fence, error, attempt)
    if run.reason is not None:
        return _write_of_reason(run, fence, error, deadline)
    if isinstance(error, NewerVersion) and fence.epoch < NEWER_CLAIMS:
        return Release(fence, NEWER_DELAY, attempt)
    return Settle(fence, Dead(failure_of(error)), attempt)


def _write_of_reason(run: Run, fence: Fence, error: BaseException, deadline: float | None) -> Write:
    attempt = run.attempt
    if run.reason is CancelReason.LEASE_LOST:
        return None
    if run.reason is CancelReason.DRAIN:
        return Release(fence, 0.0, attempt)
    if run.reason is CancelReason.USER:
        return Settle(fence, Cancelled(), attempt)
    if not isinstance(error, DeadlineExceeded):
        late = DeadlineExceeded(deadline if deadline is not None else 0.0)
        late.__cause__ = error if isinstance(error, Exception) else None
        error = late
    return Settle(fence, Dead(failure_of(error)), attempt)


def _write_of_outcome(fence: Fence, outcome: Outcome, attempt: int) -> Write:
    if isinstance(outcome, Snooze):
        return Release(fence, outcome.delay, attempt)
    if isinstance(outcome, RetryAfter):
        return Settle(fence, Retry(failure_of(outcome), outcome.delay), attempt)
    return Settle(fence, Dead(failure_of(outcome)), attempt)


def failure_of(error: BaseException) -> Failure:
    """
    Describe *error* as text: qualified type, message, shortened traceback.

    An outcome that was raised because of an error is described by that error.
    """
    if isinstance(error, (Abort, RetryAfter)) and error.__cause__ is not None:
        error = error.__cause__
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
        frames = "".join(traceback.format_exception(error, limit=-20))
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        message, frames = f"(its text cannot be had: {type(broken).__name__})", ""
    return Failure(name, message[: MAX_ERROR // 4], frames[-MAX_ERROR // 2 :])
