"""What goes to a backend and what comes back: rows, outcomes and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import attrs
from attrs.validators import ge

from layered.task import JSON, Fence, Lease, Status

if TYPE_CHECKING:
    from typing_extensions import TypeForm

A = TypeVar("A")

MAX_ERROR = 16 * 1024
"""Most characters of one stored error."""


class Failure(NamedTuple):
    """
    An error as it is stored: text only, never a class to rebuild.

    `type` is the qualified name, `traceback` is shortened and has no
    values of variables.
    """

    type: str
    message: str
    traceback: str = ""


class Done(NamedTuple):
    """The run ended well; *result* is encoded, `None` for none."""

    result: bytes | None


class Retry(NamedTuple):
    """The run failed; again in *delay* seconds. At `max_attempts` the store makes it dead."""

    failure: Failure
    delay: float


class Dead(NamedTuple):
    """The run failed for good."""

    failure: Failure


class Cancelled(NamedTuple):
    """A user cancelled the task, and its handler stopped."""


Ending: TypeAlias = Done | Retry | Dead | Cancelled
"""How a run ended."""


class Settle(NamedTuple):
    """One settle: *attempt* is the ledger; the store keeps the greater of stored and sent."""

    fence: Fence
    ending: Ending
    attempt: int


class Release(NamedTuple):
    """One release: back in *delay* seconds, without charging the current run."""

    fence: Fence
    delay: float
    attempt: int


class Renew(NamedTuple):
    """One renewal of a lease."""

    fence: Fence
    attempt: int


class Verdict(Enum):
    """What became of a fenced write."""

    APPLIED = "applied"
    ALREADY = "already"
    """The same write was applied before; nothing changed now."""
    STALE = "stale"
    """Another run owns the task, or it has ended otherwise; nothing changed."""


class Answer(NamedTuple):
    """A verdict, and the state that the task is in if it was applied now or before."""

    verdict: Verdict
    status: Status | None = None


STALE = Answer(Verdict.STALE)
APPLIED = {status: Answer(Verdict.APPLIED, status) for status in Status}
ALREADY = {status: Answer(Verdict.ALREADY, status) for status in Status}


class Renewal(Enum):
    """What became of a renewal."""

    OK = "ok"
    CANCEL = "cancel"
    """Renewed; a user asked for the task to be cancelled."""
    STALE = "stale"
    """Not renewed: another run owns the task, it has ended, or its run deadline passed."""


class Pushed(NamedTuple):
    """
    The answer to a push.

    `duplicate` is `None` for a new task; otherwise a task of that id, or
    one that holds the dedup key, was there already, and this is its state.
    `id` is that task's. Nothing was stored then, or, where `replaced`, the
    new arguments, due time and priority in its place.
    """

    id: str
    duplicate: Status | None = None
    replaced: bool = False


@attrs.frozen
class Claimant:
    """
    Who claims: fixed for a worker's life.

    Args:
        queue: The queue to claim from.
        owner: The worker's unique id: name/host/pid/uuid.
        lease: Seconds that a claim stands without renewal.
        max_run: Most seconds that a claim may be renewed for; `None` for no limit.
    """

    queue: str
    owner: str
    lease: float = 30.0
    max_run: float | None = None


class Claimed(NamedTuple):
    """
    The answer to a claim.

    `more` says that there may be more to claim now; `next_due_in` is the
    seconds until the next future task of a wanted name, `None` for none.
    """

    leases: Sequence[Lease]
    more: bool = False
    next_due_in: float | None = None


class Reaped(NamedTuple):
    """A task whose worker was lost, and the state that it went to."""

    id: str
    name: str
    status: Status


@attrs.frozen(eq=False, kw_only=True)
class Summary:
    """What the store knows of one task, without what may be large; instants are aware UTC."""

    id: str
    queue: str
    name: str
    status: Status
    priority: int
    attempt: int
    max_attempts: int | None
    lost: int
    epoch: int
    owner: str | None
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    cancel_requested: bool = False
    dedup_key: str | None = None


@attrs.frozen(eq=False, kw_only=True)
class Record(Summary):
    """
    All that the store knows of one task; bytes as they were stored.

    `errors` has the last few, oldest first. A pruned task leaves a
    tombstone for a while: payload, metadata, result, progress and errors
    are empty then.
    """

    payload: bytes
    codec: str
    version: int
    metadata: Mapping[str, str]
    result: bytes | None
    errors: Sequence[Failure]
    progress: bytes | None = None

    def result_as(self, form: TypeForm[A]) -> A:
        """
        Decode the result as *form*.

        Raises:
            ValueError: if the task is not done, or its result does not fit.
        """
        if self.status is not Status.DONE:
            msg = f"task {self.name!r} {self.id} is {self.status.label}: it has no result"
            raise ValueError(msg)
        decode: Any = JSON.decoder(form)
        value: A = decode(self.result if self.result is not None else b"null")
        return value


@attrs.frozen
class Limits:
    """
    What a storage refuses, and how long it keeps what has ended.

    Args:
        payload: Most bytes of encoded arguments.
        result: Most bytes of an encoded result.
        keep_done: Seconds that done and cancelled tasks are kept.
        keep_dead: Seconds that dead tasks are kept.
        tombstone: Seconds that a pruned task's id and state stay, counted
            from its end, so that late and repeated writes are still answered.

    Raises:
        ValueError: if one is less than 0.
    """

    payload: int = attrs.field(default=1 << 20, validator=ge(0))
    result: int = attrs.field(default=1 << 20, validator=ge(0))
    keep_done: float = attrs.field(default=24 * 3600.0, validator=ge(0))
    keep_dead: float = attrs.field(default=30 * 24 * 3600.0, validator=ge(0))
    tombstone: float = attrs.field(default=600.0, validator=ge(0))
