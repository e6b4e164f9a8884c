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
from typing import Self, TypeVar, overload

from anyio.lowlevel import checkpoint
from typing_extensions import Unpack

from layered.backend import (
    Answer,
    ArgsLike,
    Claimant,
    Claimed,
    Form,
    KindsLike,
    Limits,
    Pushed,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
    Storage,
    StorageOptions,
)
from layered.backends.memory.book import Book
from layered.errors import BackendError
from layered.service.clock import loop_clock, loop_token
from layered.service.layer import LayerLike
from layered.task import Draft, Status

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
            tombstone, so that memory stays bounded.

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
        self._book = Book(self.limits, keep)
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
        return self._book.counts(queue)

    async def names(self, queue: str, /) -> Sequence[str]:
        """See `Backend.names`."""
        self._micros()
        return self._book.names(queue)

    async def list_ids(self, queue: str, name: str, after: str, limit: int, /) -> Sequence[str]:
        """See `Lists.list_ids`; looks at every row."""
        self._micros()
        return self._book.ids(queue, name, after)[:limit]

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
