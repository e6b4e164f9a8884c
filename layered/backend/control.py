"""
Control of what is stored: the capabilities that a backend may have besides.

Each is a protocol with the operations of one capability; a storage has it
if it has them. `Inspector` and `WorkerContext` put typed methods on top.
All operations are atomic, may be repeated, and need no fence, except the
two by which a run writes of itself: `Reports.progress` and
`Remembers.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

import attrs

from layered.backend.types import Summary
from layered.task import Fence, Status, to_micros

SCANNED = 10_000
"""Most rows that one page looks at."""
MAX_PROGRESS = 4 * 1024
"""Most bytes of encoded progress."""


class Change(NamedTuple):
    """
    What became of a task that was to be cancelled or requeued.

    `status` is its state now, `None` if there is no such task. `changed`
    says whether this call changed it; for a running task, that it is now
    asked to stop. `holder` is the live task that holds its dedup key, if
    that is why it cannot be requeued.
    """

    id: str
    status: Status | None
    changed: bool
    holder: str | None = None


def _is_list(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Collection):
        msg = f"Filter: {field.name!r} must be a list, got {value!r}; put it in one"
        raise TypeError(msg)


def _is_aware(_: object, __: attrs.Attribute[Any], instant: datetime | None) -> None:
    if instant is not None:
        to_micros(instant)


def _is_text(_: object, field: attrs.Attribute[Any], text: str | None) -> None:
    if text is not None and not text.isprintable():  # which some stores cannot ask for
        msg = f"Filter: {field.name!r} must have no control characters, got {text!r}"
        raise ValueError(msg)


def _are_texts(_: object, field: attrs.Attribute[Any], texts: Collection[str]) -> None:
    for text in texts:
        _is_text(_, field, text)


@attrs.frozen
class Filter:
    """
    Which tasks: those for which all that is given holds.

    Args:
        queue: Their queue; `None` for all queues.
        names: Their names; empty for all.
        statuses: Their states; empty for all.
        since: An aware instant: pushed then or later.
        until: An aware instant: pushed before it.
        error: The type of the last error that was stored.

    Raises:
        TypeError: if *names* or *statuses* is one, and no list.
        ValueError: if an instant has no time zone, or a text control characters.
    """

    queue: str | None = attrs.field(default=None, validator=_is_text)
    names: Collection[str] = attrs.field(default=(), validator=[_is_list, _are_texts])
    statuses: Collection[Status] = attrs.field(default=(), validator=_is_list)
    since: datetime | None = attrs.field(default=None, validator=_is_aware)
    until: datetime | None = attrs.field(default=None, validator=_is_aware)
    error: str | None = attrs.field(default=None, validator=_is_text)


class Page(NamedTuple):
    """
    Some of the tasks that were asked for, the greatest id first.

    Ids that layered makes rise with time, so the newest come first. `after`
    is what to ask for next, `None` at the end. A page may be short, or
    empty, and not be the last: one looks at a bounded number of rows.
    """

    tasks: Sequence[Summary]
    after: str | None


class Queue(NamedTuple):
    """A queue: whether workers claim from it, and until when not (`None`: until resumed)."""

    name: str
    paused: bool = False
    until: datetime | None = None


class Beat(NamedTuple):
    """A sign of life of a worker, given each *every* seconds; *about* is of the worker's own."""

    owner: str
    queue: str
    about: bytes
    every: float


class Sighting(NamedTuple):
    """A worker as it was last seen; `alive` if that was less than three beats ago."""

    owner: str
    queue: str
    about: bytes
    seen_at: datetime
    alive: bool


@runtime_checkable
class Cancels(Protocol):
    """The capability to cancel tasks."""

    async def cancel(self, ids: Sequence[str], /) -> Sequence[Change]:
        """
        Cancel tasks: those that do not run at once, running ones through their lease.

        A running task is asked to stop: its next renewal answers
        `Renewal.CANCEL`. If its run ends without being done, it is
        cancelled, not run again; if it is done first, it stays done. What
        has ended is left as it is.

        Returns:
            One change per id, in order.
        """
        ...


@runtime_checkable
class Requeues(Protocol):
    """The capability to run ended tasks again."""

    async def requeue(self, ids: Sequence[str], /) -> Sequence[Change]:
        """
        Make dead and cancelled tasks ready, due now.

        Attempt and lost begin at 0, an expiry is lifted, errors are kept;
        the epoch goes on rising. Others are left as they are, and so is a
        tombstone, whose arguments are gone, and one whose dedup key another
        live task holds (`Change.holder`).

        Returns:
            One change per id, in order.
        """
        ...


@runtime_checkable
class Lists(Protocol):
    """The capability to list what is stored."""

    async def page(self, wanted: Filter, after: str | None, limit: int, /) -> Page:
        """
        List tasks in any state, tombstones included, the greatest id first.

        Looks at `SCANNED` rows at most, or *limit* if that is more.

        Args:
            wanted: Which tasks.
            after: Only lesser ids: `Page.after` of the page before; `None` for the first.
            limit: Most tasks; 1 or more.
        """
        ...


@runtime_checkable
class Pauses(Protocol):
    """The capability to hold up a queue for all workers of all processes."""

    async def queues(self) -> Sequence[Queue]:
        """List the queues, by name: those that a storage was opened for, or that were paused."""
        ...

    async def pause(self, queue: str, until: datetime | None, /) -> None:
        """
        Have claims of *queue* answer nothing, until an instant or until `resume`.

        What runs goes on. A claim says in `next_due_in` when the pause ends.
        """
        ...

    async def resume(self, queue: str, /) -> None:
        """Have claims of *queue* answer tasks again."""
        ...


@runtime_checkable
class Sees(Protocol):
    """The capability to tell which workers there are."""

    async def beat(self, beat: Beat, /) -> None:
        """Note a sign of life; the last one of an owner counts."""
        ...

    async def leave(self, owner: str, /) -> None:
        """Forget a worker that has stopped."""
        ...

    async def workers(self) -> Sequence[Sighting]:
        """List the workers, by owner; those not seen for a day are forgotten by `prune`."""
        ...


@runtime_checkable
class Reports(Protocol):
    """The capability to keep the progress of a run."""

    async def progress(self, fence: Fence, value: bytes, /) -> bool:
        """Store how far a run has come; the last one counts. `False` if the fence is stale."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """The capability to keep what a task has done already, for its next run."""

    async def checkpoint(self, fence: Fence, step: str, value: bytes, /) -> bytes | None:
        """
        Store the value of a step, if there is none; kept as long as the task's arguments.

        Returns:
            The value that is stored now: the first. `None` if the fence is stale.
        """
        ...

    async def checkpoints(self, task_id: str, /) -> Mapping[str, bytes]:
        """Read the values of all steps of a task."""
        ...


@runtime_checkable
class Dedups(Protocol):
    """The capability to keep one live task per key; `insert` honours `Draft.dedup`."""

    async def holder(self, queue: str, key: str, /) -> str | None:
        """Answer the id of the task that holds a key; `None` if it is free."""
        ...
