"""`Inspector`: look at a store and steer it, by hand, from a command line or a page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from layered.backend.about import WorkerInfo
from layered.backend.capability import having
from layered.backend.control import (
    Cancels,
    Change,
    Filter,
    Lists,
    Page,
    Pauses,
    Queue,
    Requeues,
    Sees,
)
from layered.backend.results import unknown
from layered.backend.storage import Storage
from layered.backend.types import Record, Summary
from layered.errors import Conflict, WrongState
from layered.task import JSON, Status, checked_id, checked_name, to_micros

if TYPE_CHECKING:
    from uuid import UUID

    from typing_extensions import TypeForm

T = TypeVar("T")

BATCH = 200
"""Tasks of one page, and of one write, where many are gone through."""

EVERYTHING = Filter()
LIVE = tuple(status for status in Status if not status.is_terminal)


class Inspector:
    """
    Looks at tasks, queues and workers, and steers them.

    Every method raises `Incapable` if the storage has not the capability
    for it, and what the storage raises. All may be repeated.

    Args:
        storage: An open storage. Which types it holds does not matter.
    """

    __slots__ = ("storage",)

    def __init__(self, storage: Storage[Any]) -> None:
        self.storage = storage

    async def get(self, task_id: str | UUID, /) -> Record | None:
        """Read all of one task; `None` if there is none (any more)."""
        return await self.storage.get(task_id)

    async def page(
        self, wanted: Filter = EVERYTHING, /, *, after: str | None = None, limit: int = BATCH
    ) -> Page:
        """
        Read one page of tasks, the newest first.

        Args:
            wanted: Which tasks; default all, of all queues.
            after: `Page.after` of the page before; `None` for the first.
            limit: Most tasks; 1 or more. A page may be shorter, and not the last.
        """
        lists = having(self.storage, Lists, "listing tasks")
        if limit < 1:
            msg = f"listing tasks: limit must be 1 or more, got {limit!r}"
            raise ValueError(msg)
        return await lists.page(wanted, after, limit)

    async def tasks(self, wanted: Filter = EVERYTHING, /) -> AsyncIterator[Summary]:
        """
        Go through tasks, the newest first, page by page.

        What is pushed meanwhile does not turn up; what changes meanwhile
        may turn up as it was or as it is.
        """
        page = await self.page(wanted)
        while True:
            for task in page.tasks:
                yield task
            if page.after is None:
                return
            page = await self.page(wanted, after=page.after)

    async def cancel(self, task_id: str | UUID, /) -> Change:
        """
        Cancel a task: at once if it does not run, through its lease if it does.

        A running handler hears of it when its lease is renewed next, within
        a third of the lease. If it ends well nevertheless, the task is
        done; otherwise it is cancelled, and not run again.

        Returns:
            Its state now, and whether this call changed it. What has ended stays as it is.

        Raises:
            KeyError: if there is no such task.
        """
        wanted = checked_id(task_id)
        (change,) = await having(self.storage, Cancels, "cancelling a task").cancel([wanted])
        return _found("cancelling", change)

    async def requeue(self, task_id: str | UUID, /) -> Change:
        """
        Run a dead or cancelled task again, from its first attempt; due now.

        Returns:
            Its state now. One that has not ended is left as it is: not `Change.changed`.

        Raises:
            KeyError: if there is no such task.
            Conflict: if another live task holds its dedup key.
            WrongState: if it is done, or its arguments are not kept any more.
        """
        wanted = checked_id(task_id)
        (change,) = await having(self.storage, Requeues, "requeueing a task").requeue([wanted])
        status = _found("requeueing", change).status
        if change.changed or status in LIVE:
            return change
        if change.holder is not None:
            msg = f"requeueing task {wanted}: task {change.holder} holds its dedup key"
            raise Conflict(msg)
        why = "it is done" if status is Status.DONE else "its arguments are not kept any more"
        msg = f"requeueing task {wanted}: {why}; push it anew"
        raise WrongState(msg)

    async def cancel_all(self, wanted: Filter, /) -> int:
        """
        Cancel all tasks that match and have not ended, running ones included.

        In pages, so it is not one write: what was pushed after the start is
        left out, and an error leaves what was done so far.

        Args:
            wanted: Which; without `statuses` those of any live state.

        Returns:
            How many were cancelled, or asked to stop.
        """
        cancels = having(self.storage, Cancels, "cancelling tasks")
        return await self._change_all(wanted, LIVE, cancels.cancel)

    async def requeue_all(self, wanted: Filter, /) -> int:
        """
        Run all tasks again that match and are dead; in pages, as `cancel_all`.

        Args:
            wanted: Which; cancelled ones only where `statuses` names them.

        Returns:
            How many were requeued; the others could not be, for the reasons of `requeue`.
        """
        requeues = having(self.storage, Requeues, "requeueing tasks")
        return await self._change_all(wanted, (Status.DEAD,), requeues.requeue)

    async def counts(self, queue: str | None = None, /) -> Mapping[str, Mapping[Status, int]]:
        """Count the tasks of a queue by name and state; default the storage's own queue."""
        return await self.storage.counts(self._queue(queue))

    async def queues(self) -> Sequence[Queue]:
        """List the queues, by name: those that a storage was opened for, or that were paused."""
        return await having(self.storage, Pauses, "listing queues").queues()

    async def pause(self, queue: str | None = None, /, *, until: datetime | None = None) -> None:
        """
        Have no worker of any process claim from a queue; what runs goes on.

        Args:
            queue: Default the storage's own queue.
            until: An aware instant, by the store's clock; `None` for until `resume`.
        """
        pauses, name = having(self.storage, Pauses, "pausing a queue"), self._queue(queue)
        if until is not None:
            to_micros(until)
        await pauses.pause(name, until)

    async def resume(self, queue: str | None = None, /) -> None:
        """Have workers claim from a queue again; default the storage's own queue."""
        await having(self.storage, Pauses, "resuming a queue").resume(self._queue(queue))

    async def workers(self) -> Sequence[WorkerInfo]:
        """List the workers by owner, those that were not heard of lately included."""
        sees = having(self.storage, Sees, "listing workers")
        return [WorkerInfo.of(seen) for seen in await sees.workers()]

    async def progress(self, task_id: str | UUID, form: TypeForm[T], /) -> T | None:
        """
        Read how far a run has come: what `WorkerContext.progress` was given last.

        Args:
            task_id: The task.
            form: What to decode it as.

        Raises:
            KeyError: if there is no such task.
            ValueError: if what is stored does not fit.
        """
        record = await self.get(task_id)
        if record is None:
            raise unknown(checked_id(task_id), "reading the progress of")
        return None if record.progress is None else JSON.decoder(form)(record.progress)

    async def prune(self) -> int:
        """Remove what has ended and is past its retention, as workers do; answer how much."""
        total = changed = await self.storage.prune(BATCH)
        while changed >= BATCH:
            changed = await self.storage.prune(BATCH)
            total += changed
        return total

    async def _change_all(
        self,
        wanted: Filter,
        statuses: Collection[Status],
        change: Callable[[Sequence[str]], Awaitable[Sequence[Change]]],
    ) -> int:
        if not wanted.statuses:
            wanted = attrs.evolve(wanted, statuses=statuses)
        after, changed = None, 0
        while True:
            page = await self.page(wanted, after=after)
            if page.tasks:
                changes = await change([task.id for task in page.tasks])
                changed += sum(one.changed for one in changes)
            if page.after is None:
                return changed
            after = page.after

    def _queue(self, queue: str | None) -> str:
        return self.storage.queue if queue is None else checked_name("queue", queue)

    def __repr__(self) -> str:
        """Show the storage."""
        return f"Inspector({self.storage!r})"


def _found(doing: str, change: Change) -> Change:
    if change.status is None:
        raise unknown(change.id, doing)
    return change
