"""
The backend contract: what a store of tasks must do, and never do.

A backend implements the operations of `Backend` on encoded rows. All of
them are atomic, each is safe to repeat after an unknown outcome, and
cancelling the caller leaves no half write: before the commit it has no
effect, after it the write stands. `layered.backend.storage.Storage` puts
the typed client (`push`, `get`, `wait_for`) on top.

Invariants that every backend keeps:

1. An accepted write survives the crash of every client, and of the store
   at its declared `durability`.
2. No write without the current fence; a stale one changes nothing.
   The fence alone decides: a lease that has expired and was not yet
   reaped may still be renewed and settled.
3. `epoch` strictly rises; `claim_id` is fresh for every claim call.
4. At most one move into ``done``; the result never changes.
5. Nothing is claimed before it is due, by the store's own clock.
6. Within one claim: priority (higher first), then due time, then id.
7. A name that is not wanted is never claimed.
8. Bytes in are bytes out: the backend never decodes.
9. One item of a batch never aborts another.

Errors are told apart as `Transient`, `Full`, `Conflict`, `Fatal` and
`BackendClosed` (`layered.errors`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from layered.backend.signal import Signal
from layered.backend.types import (
    Answer,
    Claimant,
    Claimed,
    Pushed,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Settle,
)
from layered.task import Draft, Status

Durability = Literal["none", "process", "power"]
"""What an accepted push survives: nothing, a crash of processes, a loss of power."""


class Renews(Protocol):
    """The part of a backend that the lease keeper needs."""

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """Extend leases; see `Backend.renew`."""
        ...


@runtime_checkable
class Transactional(Protocol):
    """The capability to settle inside a transaction of the user's."""

    async def settle_in(self, tx: Any, item: Settle, /) -> Answer:  # noqa: ANN401 - each its own
        """
        Settle *item* in the transaction *tx*, or answer `Verdict.STALE` and write nothing.

        Raises:
            BackendBroken: if it is unknown whether the transaction was committed.
            BaseException: what *tx* itself raises; then nothing was written.
        """
        ...


class Backend(ABC):
    """
    The operations of a store of tasks, on encoded rows.

    Class attributes:
        durability: What an accepted write survives.
        threaded_keeper: Whether `keeper` may be used from a thread of its
            own, so that leases survive a blocked event loop.
        poll: Seconds between looks at the store when no hint comes.
        messaging_system: Value of the ``messaging.system`` span attribute.

    Attributes:
        pushed: Hint: tasks may have become claimable.
        ended: Hint: tasks may have ended.
    """

    durability: ClassVar[Durability] = "none"
    threaded_keeper: ClassVar[bool] = False
    poll: float = 1.0
    messaging_system: ClassVar[str] = "layered"

    def __init__(self) -> None:
        self.pushed = Signal()
        self.ended = Signal()

    @abstractmethod
    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[Pushed]:
        """
        Store tasks; idempotent by id, all or nothing.

        A draft with `Draft.dedup` whose key another live task of its queue
        holds, or an ended one whose window is open, is handled as the draft
        says (`Dedups`); a replaced task keeps its id.

        Returns:
            One answer per draft, in order.

        Raises:
            Conflict: if a key is held and its draft says `OnConflict.REJECT`.
            Full: if there is no room.
            Transient: if it did not succeed now; repeating it is safe.

        Cancellation:
            Stored wholly or not at all.
        """

    @abstractmethod
    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """
        Lease due tasks of the *wanted* names: ``running``, epoch + 1, attempt + 1.

        Promotes due ``scheduled`` and ``retry`` tasks of each wanted name
        first, then takes ready ones by priority, due time and id. Cost is
        proportional to *most*, whatever the backlog. Of a paused queue
        (`Pauses`) it takes nothing, and `Claimed.next_due_in` is the rest
        of the pause.

        Args:
            claimant: Who claims, for how long.
            wanted: Name to the most tasks of that name; others are never touched.
            most: Most tasks in all; 1 or more.

        Raises:
            Transient: if it did not succeed now.

        Cancellation:
            Before the commit: no effect. After it the leases stand, and end
            by themselves.
        """

    @abstractmethod
    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """
        Extend leases to *lease* seconds from now; never shorten one.

        A run past its claimant's `max_run` is not renewed (`Renewal.STALE`).
        The stored attempt becomes the greater of stored and sent.

        Returns:
            One answer per item, in order.
        """

    @abstractmethod
    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """
        End runs, each by its fence.

        Applying writes ``settled_claim`` and ``settled_op``; the same
        settle again answers `Verdict.ALREADY`. A failed run that was asked
        to stop (`Cancels`) and would be retried is cancelled instead.

        Returns:
            One answer per item, in order.

        Cancellation:
            Applied wholly or not at all; repeating it is safe.
        """

    @abstractmethod
    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """
        Give claimed tasks back, each by its fence: ``ready``, or ``retry`` with a delay.

        Attempt becomes the greater of stored and sent, less the current
        run; the epoch is not given back. A run that was asked to stop
        (`Cancels`) is cancelled instead.
        """

    @abstractmethod
    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """
        Take tasks from lost workers: ``running`` ones past their lease, at most *limit*.

        `lost` + 1; then ``cancelled`` if a user asked for it, ``dead`` at
        `max_lost` or `max_attempts` (failure type ``worker_lost``), else
        ``retry`` with a jittered delay. Every worker calls it.
        """

    @abstractmethod
    async def fetch(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        """Read tasks by id, in order; `None` where there is none."""

    @abstractmethod
    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        """Count tasks by name and state."""

    @abstractmethod
    async def names(self, queue: str, /) -> Sequence[str]:
        """List the names that have ready tasks."""

    @abstractmethod
    async def prune(self, limit: int, /) -> int:
        """
        Remove ended tasks past their retention, at most *limit*.

        Sweeps tasks past `expires_at` into ``dead`` too. An ended task's
        id and state stay as a tombstone for `Limits.tombstone` seconds.

        Returns:
            Rows changed or removed; less than *limit* when nothing is left to do.
        """

    @abstractmethod
    async def check(self) -> None:
        """
        Look at the store before a worker starts: schema version, modes, clock.

        Raises:
            Fatal: if it cannot be used; the message has the way out.
        """

    def keeper(self) -> AbstractAsyncContextManager[Renews]:
        """
        Open an object for renewals with a connection of its own.

        Entered and used in the thread and loop that it is opened in, which
        may differ from the storage's. Only called where `threaded_keeper`.
        """
        raise NotImplementedError
