"""
`MemoryStorage`: the contract in plain data, inside one process and one event loop.

For tests, examples and work that may be lost with the process. It keeps
every rule of the contract, delays included, and is the model that the
other backends are compared with. Every operation runs without a break, so
each is atomic and none can be cancelled half-way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Self, TypeVar, overload

from anyio.lowlevel import checkpoint
from typing_extensions import Unpack

from layered.backend import (
    Answer,
    ArgsLike,
    Beat,
    Change,
    Claimant,
    Claimed,
    Filter,
    Form,
    KindsLike,
    Limits,
    Page,
    Pushed,
    Queue,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
    Sighting,
    Storage,
    StorageOptions,
)
from layered.backends.memory import listing
from layered.backends.memory.book import Book
from layered.errors import BackendError
from layered.service.clock import loop_clock, loop_token
from layered.service.layer import LayerLike
from layered.task import Draft, Fence, Status, to_micros

A = TypeVar("A")


class MemoryOptions(StorageOptions, total=False):
    """What `MemoryStorage` takes besides."""

    keep: int


class MemoryStorage(Storage[A]):
    """
    Tasks in memory, for one event loop; lost with the process.

    Usable with or without ``async with``.

    Args:
        args: The type of the arguments, a union of types, or kinds.
        queue: The queue to push to and to claim from.
        layers: The stack around `push`, outermost first.
        limits: Sizes and retention.
        now: Wall clock, seconds since 1970; default the wall clock at the
            first use, moved on by the event loop's clock.
        keep: Most ended tasks to keep; the oldest go first, without a
            tombstone, and their dedup keys with them, so that memory stays
            bounded.

    Raises:
        BackendError: by every operation in a second event loop.
    """

    @overload
    def __init__(self, args: Form[A], **options: Unpack[MemoryOptions]) -> None: ...
    @overload
    def __init__(self, args: KindsLike[A], **options: Unpack[MemoryOptions]) -> None: ...
    def __init__(
        self,
        args: ArgsLike[A],
        *,
        queue: str = "default",
        layers: Sequence[LayerLike] = (),
        limits: Limits | None = None,
        now: Callable[[], float] | None = None,
        keep: int = 10_000,
    ) -> None:
        super().__init__(args, queue, layers, limits or Limits())
        self._now = now
        self._micros_now: Callable[[], int]
        self._loop: object = None
        self._clock: Callable[[], float] = time.monotonic
        self._book = Book(self.limits, keep, self.queue)
        self._inserts = 0

    async def __aenter__(self) -> Self:
        """Answer the storage; nothing to open."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Keep everything: the storage can be used again in the same loop."""

    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[Pushed]:
        """See `Backend.insert`; now and then it lets other tasks of the loop run first."""
        self._inserts += 1
        if not self._inserts % 64:
            await checkpoint()
        now = self._micros()
        for draft in drafts:
            if draft.dedup is not None:
                self._book.keys.admit(drafts, self._book.rows, now)
                break
        answers = [self._book.insert(draft, now) for draft in drafts]
        self.pushed.notify()
        return answers

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """See `Backend.claim`."""
        return self._book.claim(claimant, wanted, most, self._micros(), self._clock())

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """See `Backend.renew`."""
        self._micros()
        return [self._book.renew(item, lease, self._clock()) for item in items]

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """See `Backend.settle`."""
        now = self._micros()
        answers = [self._book.settle(item, now) for item in items]
        self.ended.notify()
        if any(type(item.ending) is Retry for item in items):
            self.pushed.notify()
        return answers

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """See `Backend.release`."""
        now = self._micros()
        answers = [self._book.release(item, now) for item in items]
        self.pushed.notify()
        return answers

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """See `Backend.reap`; the delay of a retried task is up to 1 s."""
        reaped = self._book.reap(limit, self._micros(), self._clock())
        if reaped:
            self.pushed.notify()
            self.ended.notify()
        return reaped

    async def fetch(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        """See `Backend.fetch`."""
        self._micros()
        rows = self._book.rows
        return [row.record() if (row := rows.get(one)) else None for one in ids]

    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        """See `Backend.counts`; looks at every row."""
        self._micros()
        return listing.counts(self._book.rows, queue)

    async def names(self, queue: str, /) -> Sequence[str]:
        """See `Backend.names`."""
        self._micros()
        return self._book.names(queue)

    async def page(self, wanted: Filter, after: str | None, limit: int, /) -> Page:
        """See `Lists.page`; looks at every id."""
        self._micros()
        return listing.page(self._book.rows, wanted, after, limit)

    async def cancel(self, ids: Sequence[str], /) -> Sequence[Change]:
        """See `Cancels.cancel`."""
        now = self._micros()
        changes = [self._book.cancel(one, now) for one in ids]
        self.ended.notify()
        return changes

    async def requeue(self, ids: Sequence[str], /) -> Sequence[Change]:
        """See `Requeues.requeue`."""
        changes = self._book.requeue(ids, self._micros())
        self.pushed.notify()
        return changes

    async def queues(self) -> Sequence[Queue]:
        """See `Pauses.queues`."""
        return self._book.pauses.queues(self._micros())

    async def pause(self, queue: str, until: datetime | None, /) -> None:
        """See `Pauses.pause`."""
        self._micros()
        self._book.pauses.pause(queue, None if until is None else to_micros(until))

    async def resume(self, queue: str, /) -> None:
        """See `Pauses.resume`."""
        self._micros()
        self._book.pauses.resume(queue)
        self.pushed.notify()

    async def beat(self, beat: Beat, /) -> None:
        """See `Sees.beat`."""
        self._book.crew.beat(beat, self._micros())

    async def leave(self, owner: str, /) -> None:
        """See `Sees.leave`."""
        self._micros()
        self._book.crew.leave(owner)

    async def workers(self) -> Sequence[Sighting]:
        """See `Sees.workers`."""
        return self._book.crew.workers(self._micros())

    async def progress(self, fence: Fence, value: bytes, /) -> bool:
        """See `Reports.progress`."""
        self._micros()
        return self._book.progress(fence, value)

    async def checkpoint(self, fence: Fence, step: str, value: bytes, /) -> bytes | None:
        """See `Remembers.checkpoint`."""
        self._micros()
        return self._book.checkpoint(fence, step, value)

    async def checkpoints(self, task_id: str, /) -> Mapping[str, bytes]:
        """See `Remembers.checkpoints`."""
        self._micros()
        row = self._book.rows.get(task_id)
        return dict(row.steps or {}) if row else {}

    async def holder(self, queue: str, key: str, /) -> str | None:
        """See `Dedups.holder`."""
        row = self._book.keys.holder(queue, key, self._micros())
        return row.draft.id if row else None

    async def prune(self, limit: int, /) -> int:
        """See `Backend.prune`."""
        return self._book.prune(limit, self._micros())

    async def check(self) -> None:
        """See `Backend.check`: nothing can be wrong."""
        self._micros()

    def _micros(self) -> int:
        """Read the wall clock, after a look at the loop."""
        token = loop_token()
        if token is not self._loop:
            self._bind(token)
        return self._micros_now()

    def _bind(self, token: object) -> None:
        if self._loop is not None:
            msg = (
                f"{self!r} belongs to another event loop; use one loop per MemoryStorage, "
                "or SqliteStorage, which several may share"
            )
            raise BackendError(msg)
        self._loop, self._clock = token, loop_clock()
        now, clock = self._now, self._clock
        if now is not None:
            self._micros_now = lambda: round(now() * 1e6)
            return
        # A sum of floats so far from 0 may be a microsecond short: on virtual time a task
        # would not be due when its delay is over.
        offset = int((time.time() - clock()) * 1e6)
        self._micros_now = lambda: offset + round(clock() * 1e6)

    def __repr__(self) -> str:
        """Show the queue and the task names."""
        return f"MemoryStorage({', '.join(self.kinds.by_name)}, queue={self.queue!r})"
