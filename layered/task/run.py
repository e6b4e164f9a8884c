"""
What a task is made of: the `Draft` that is pushed, the `Lease` that is claimed, the `Run` of one.

Instants are microseconds since 1970-01-01 UTC, as `int`: exact, and what
every store keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import anyio

NEVER = float("inf")

NO_METADATA: Mapping[str, str] = MappingProxyType({})
"""The metadata of a task that has none; shared, so it is read-only."""


class Fence(NamedTuple):
    """
    What a worker must show to write: it still owns *this* run of the task.

    `epoch` rises by one at each claim and never falls or repeats;
    `claim_id` is a random 128-bit value per claim call, because a store
    that loses its last commits issues the same epoch twice.
    """

    id: str
    epoch: int
    claim_id: bytes


class OnConflict(Enum):
    """What a push does when another live task holds its dedup key."""

    KEEP = "keep"
    """Nothing is stored; the answer names the task that is there."""
    REJECT = "reject"
    """The push raises `Conflict`; nothing is stored."""
    REPLACE = "replace"
    """The task that is there gets the new arguments, due time and priority, unless it runs."""


class Dedup(NamedTuple):
    """
    A key that one live task of a queue holds at a time.

    It is free again when its task has ended, and no earlier than *window*
    seconds after the push.
    """

    key: str
    on_conflict: OnConflict = OnConflict.KEEP
    window: float = 0.0


class Draft(NamedTuple):
    """A task as it is pushed. `delay` (seconds) counts only where `at` is `None`."""

    id: str
    queue: str
    name: str
    payload: bytes
    codec: str = "json"
    version: int = 1
    metadata: Mapping[str, str] = NO_METADATA
    priority: int = 5
    delay: float = 0.0
    at: datetime | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    max_lost: int = 3
    dedup: Dedup | None = None
    run_id: str | None = None
    step: str | None = None
    on_end: bytes | None = None

    @property
    def attempt(self) -> int:
        """0: it has not run."""
        return 0


class Lease(NamedTuple):
    """
    One claimed task: the right to run it until the lease ends.

    `attempt` counts this run: 1 on the first. `lost` counts the runs that
    ended with a lost worker.
    """

    fence: Fence
    queue: str
    name: str
    payload: bytes
    codec: str
    version: int
    metadata: Mapping[str, str]
    priority: int
    attempt: int
    max_attempts: int | None
    lost: int
    due_at: int
    created_at: int

    @property
    def id(self) -> str:
        """The task's id."""
        return self.fence.id


class CancelReason(Enum):
    """Why a worker cancelled a handler. What is settled follows from it."""

    DEADLINE = "deadline"
    """The task's whole limit passed: settled as a failure (`DeadlineExceeded`)."""
    USER = "user"
    """Somebody cancelled the task: settled as cancelled."""
    LEASE_LOST = "lease_lost"
    """Another worker may own it by now: nothing is written."""
    DRAIN = "drain"
    """The worker stops: released, uncharged."""


class Settling(Enum):
    """How far a run's own settle (`WorkerContext.settle_in`) has come."""

    OPEN = "open"
    """Not settled: retries and cancellation act as usual."""
    STARTED = "started"
    """Its transaction may commit: nothing re-runs or cancels the task any more."""
    DONE = "done"
    """Its transaction has committed: the worker writes nothing more."""


class Host(Protocol):
    """The worker that a run belongs to, as far as the lower rooms need to know."""

    @property
    def name(self) -> str:
        """The worker's name."""
        ...

    @property
    def owner(self) -> str:
        """The worker's unique id: name/host/pid/uuid."""
        ...


class Run:
    """
    The record of one run, shared by every copy of its `Task`.

    It holds the *ledger* (`attempt`: what the store will be told), the
    reason of a cancellation, and the scope by which the worker cancels;
    further, by the loop's clock, when the handler started and its
    deadline, and by the keeper's clock, when the lease ends at the latest.
    The worker and `RetryLayer` write to it; everybody else reads.

    Args:
        record: What was claimed, or what is being pushed.
        host: The worker; `None` around a push.
    """

    __slots__ = (
        "attempt",
        "deadline",
        "host",
        "lease_ends",
        "reason",
        "record",
        "scope",
        "settling",
        "started",
    )

    def __init__(self, record: Lease | Draft, host: Host | None = None) -> None:
        self.record = record
        self.host = host
        self.attempt = record.attempt
        self.reason: CancelReason | None = None
        self.scope: anyio.CancelScope | None = None
        self.deadline = NEVER
        self.lease_ends = NEVER
        self.started = NEVER
        self.settling = Settling.OPEN

    @property
    def lease(self) -> Lease | None:
        """What was claimed; `None` around a push."""
        record = self.record
        return record if isinstance(record, Lease) else None

    def cancel(self, reason: CancelReason) -> bool:
        """
        Cancel the run, if it has neither ended nor begun to settle.

        A drain cancels one that has settled too: its task is done, but its
        handler must end.

        The first reason stands; a run that waits is not started then. Safe
        to call at any time from the loop's thread.

        Returns:
            Whether *reason* is now the run's reason.
        """
        ended = self.scope is None and self.started != NEVER
        settling = self.settling is not Settling.OPEN and reason is not CancelReason.DRAIN
        if ended or settling or self.reason is not None:
            return False
        self.reason = reason
        if self.scope is not None:
            self.scope.cancel()
        return True

    def __repr__(self) -> str:
        """Show id, attempt and cancellation."""
        why = f" cancelled by {self.reason.value}" if self.reason else ""
        return f"<Run of {self.record.id} attempt {self.attempt}{why}>"
