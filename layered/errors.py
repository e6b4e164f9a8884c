"""
Every error of layered, in one tree.

::

    Exception
    ├── LayeredError
    │   ├── BuildError           a worker, stack or handler cannot be built; lists all problems
    │   ├── PushRefused          bad name, queue, arguments or size; nothing was stored
    │   ├── DecodeFailed         stored bytes do not fit the arguments' type
    │   ├── NewerVersion         stored by a newer program than this one
    │   ├── LeaseLost            the fence refused a write: another run owns the task
    │   ├── DeadlineExceeded     the whole task's limit passed (also a TimeoutError)
    │   ├── StrayCancellation    a handler was cancelled by nobody who may
    │   ├── WrongState           a worker was told something that its state forbids
    │   └── BackendError
    │       ├── BackendClosed    you closed it
    │       ├── Transient        try again: locked, deadlocked, timed out
    │       │   └── BackendBroken    the world closed it; ``__cause__`` tells how
    │       ├── Full             no room: the store is up and keeps what it has
    │       ├── Conflict         the store holds something else under that key
    │       └── Fatal            trying again is no use: schema, authorisation, corruption
    └── Outcome                  not failures of the library: what a handler may return or raise
        ├── Abort                dead now, whatever the retry policy says
        ├── RetryAfter           failed; run again after a delay
        └── Snooze               not now; run again after a delay, uncharged

An error that belongs to one layer lives in that layer's file
(`layered.layers.timeout.Elapsed`). Class names say a state. Errors carry
their data as attributes; the wording is here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar


class LayeredError(Exception):
    """Base of the errors that layered raises."""


class BuildError(LayeredError, ValueError):
    """
    A worker, stack or handler cannot be built; nothing was started.

    Args:
        subject: What was being built, for the first line of the message.
        problems: All problems found, each with its way out; 1 or more.
    """

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        super().__init__(subject, tuple(problems))
        self.subject = subject
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """One problem on one line, more as a list."""
        if len(self.problems) == 1:
            return f"cannot build {self.subject}: {self.problems[0]}"
        listed = "".join(f"\n  {n}. {text}" for n, text in enumerate(self.problems, 1))
        return f"cannot build {self.subject}, {len(self.problems)} problems:{listed}"


class PushRefused(LayeredError, ValueError):
    """A push was refused before anything was stored."""


class DecodeFailed(LayeredError, ValueError):
    """Stored bytes do not fit the type of the arguments; the bytes are kept."""


class NewerVersion(LayeredError):
    """
    A task was stored with a newer payload version than this program knows.

    Args:
        name: The task's name.
        stored: The version found.
        known: The newest version that this program decodes.
    """

    def __init__(self, name: str, stored: int, known: int) -> None:
        super().__init__(name, stored, known)
        self.name = name
        self.stored = stored
        self.known = known

    def __str__(self) -> str:
        """Name both versions and the way out."""
        return (
            f"task {self.name!r} was stored with payload version {self.stored}, this program "
            f"knows up to {self.known}; run a newer worker"
        )


class LeaseLost(LayeredError):
    """The store refused a write because this run no longer owns the task."""


class DeadlineExceeded(LayeredError, TimeoutError):
    """
    The task's whole time limit passed before its handler ended.

    Args:
        seconds: The limit set with `WorkerBuilder.deadline`.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        """Name the limit."""
        return f"task ran longer than its deadline of {self.seconds} s"


class StrayCancellation(LayeredError):
    """A handler ended with a cancellation that neither the worker nor a scope asked for."""


class WrongState(LayeredError, RuntimeError):
    """A worker or context was told something that its present state does not allow."""


class BackendError(LayeredError):
    """Base of what a backend raises."""


class BackendClosed(BackendError):
    """The backend was closed by this program, or never opened."""


class Transient(BackendError):
    """The operation did not succeed now and may later; nothing is known to be lost."""


class BackendBroken(Transient):
    """The store went away; ``__cause__`` has the driver's error."""


class Full(BackendError):
    """The store has no room; nothing of this call was stored, all earlier work is kept."""


class Conflict(BackendError):
    """The store holds something else under that key."""


class Fatal(BackendError):
    """The store cannot be used as it is (schema, authorisation, corruption)."""


class Outcome(Exception):
    """
    What a handler may return or raise to say how its task goes on.

    Layers see an outcome as an exception. `is_failure` tells breakers,
    budgets, metrics and spans whether to count it.
    """

    is_failure: ClassVar[bool] = True


class Abort(Outcome):
    """
    The task has failed for good: dead now, whatever the retry policy says.

    Args:
        reason: Kept with the task.
    """

    def __init__(self, reason: str = "aborted") -> None:
        super().__init__(reason)
        self.reason = reason


class RetryAfter(Outcome):
    """
    The task has failed; run it again after a delay.

    The run counts as an attempt. With a `RetryLayer` its stop policy
    applies; without one the task's `max_attempts`, if any, does.

    Args:
        delay: Seconds, or a `timedelta`; 0 or more.
        reason: Kept with the task.
    """

    def __init__(self, delay: float | timedelta, reason: str = "retry") -> None:
        self.delay = _seconds("RetryAfter", delay)
        self.reason = reason
        super().__init__(self.delay, reason)

    def __str__(self) -> str:
        """Give reason and delay."""
        return f"{self.reason} (again in {self.delay:g} s)"


class Snooze(Outcome):
    """
    Not now: run the task again after a delay; this run is not charged.

    Args:
        delay: Seconds, or a `timedelta`; 0 or more.
    """

    is_failure: ClassVar[bool] = False

    def __init__(self, delay: float | timedelta) -> None:
        self.delay = _seconds("Snooze", delay)
        super().__init__(self.delay)

    def __str__(self) -> str:
        """Give the delay."""
        return f"snoozed for {self.delay:g} s"


def _seconds(what: str, delay: float | timedelta) -> float:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if not 0 <= seconds < float("inf"):
        msg = f"{what}({delay!r}): the delay must be 0 or more seconds; got {seconds!r}"
        raise ValueError(msg)
    return seconds
