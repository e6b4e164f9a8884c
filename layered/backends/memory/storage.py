"""
`MemoryStorage`: the contract in plain data, inside one process and one event loop.

For tests, examples and work that may be lost with the process. It keeps
every rule of the contract, delays included, and is the model that the
other backends are compared with. Every operation runs without a break, so
each is atomic and none can be cancelled half-way.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes
from typing import Self, TypeVar, overload

from anyio.lowlevel import checkpoint
from typing_extensions import Unpack

from layered.backend import (
    ALREADY,
    APPLIED,
    STALE,
    Answer,
    ArgsLike,
    Cancelled,
    Claimant,
    Claimed,
    Dead,
    Done,
    Failure,
    Form,
    KindsLike,
    Limits,
    Pushed,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Settle,
    Storage,
    StorageOptions,
)
from layered.backends.memory.ended import Ended
from layered.backends.memory.index import Index
from layered.backends.memory.rows import Row
from layered.errors import BackendError
from layered.service.clock import loop_clock, loop_token
from layered.service.layer import LayerLike
from layered.task import Draft, Fence, Lease, Status, to_micros

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
        self._loop: object = None
        self._clock: Callable[[], float] = time.monotonic
        self._rows: dict[str, Row] = {}
        self._index = Index()
        self._running: dict[str, Row] = {}
        self._ended = Ended(self._rows, self.limits, keep)
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
        answers = [self._insert(draft, now) for draft in drafts]
        self.pushed.notify()
        return answers

    def _insert(self, draft: Draft, now: int) -> Pushed:
        row = self._rows.get(draft.id)
        if row is not None:
            return Pushed(draft.id, row.status)
        due = now + int(draft.delay * 1e6) if draft.at is None else to_micros(draft.at)
        row = self._rows[draft.id] = Row(draft, now, due)
        self._index.place(row, Status.READY if due <= now else Status.SCHEDULED)
        return Pushed(draft.id)

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """See `Backend.claim`."""
        now, mono, claim_id = self._micros(), self._clock(), token_bytes(16)
        queue, examined = claimant.queue, 0
        leases: list[Lease] = []
        left = dict(wanted)
        rows = self._index.take(queue, left, now, most)
        while len(leases) < most and examined < 2 * most and (row := next(rows, None)):
            examined += 1
            if _expired(row, now):
                self._expire(row)
            else:
                leases.append(row.run(claimant, claim_id, mono))
                self._running[row.draft.id] = row
                left[row.draft.name] -= 1
        more = len(leases) == most and self._index.has_ready(queue, wanted)
        due = self._index.next_due(queue, wanted)
        return Claimed(
            leases, more or examined == 2 * most, None if due is None else (due - now) / 1e6
        )

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """See `Backend.renew`."""
        self._micros()
        return [self._renewed(item, lease, self._clock()) for item in items]

    def _renewed(self, item: Renew, lease: float, mono: float) -> Renewal:
        row = self._fenced(item.fence)
        if row is None or mono > row.run_deadline:
            return Renewal.STALE
        row.lease_until = max(row.lease_until, mono + lease)
        row.attempt = max(row.attempt, item.attempt)
        return Renewal.CANCEL if row.cancel_requested else Renewal.OK

    def _fenced(self, fence: Fence) -> Row | None:
        """Answer the row if the fence still holds."""
        row = self._running.get(fence.id)
        if row is None or row.epoch != fence.epoch or row.claim_id != fence.claim_id:
            return None
        return row

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """See `Backend.settle`."""
        now = self._micros()
        answers = [self._settled(item, now) for item in items]
        self.ended.notify()
        return answers

    def _settled(self, item: Settle, now: int) -> Answer:
        ending = item.ending
        operation = type(ending).__name__.lower()
        row = self._fenced(item.fence)
        if row is None:
            return self._refused(item.fence, operation)
        row.attempt = max(row.attempt, item.attempt)
        row.settled = (row.claim_id, operation)
        if isinstance(ending, Done):
            row.result = ending.result
            self._end(row, Status.DONE)
        elif isinstance(ending, Cancelled):
            self._end(row, Status.CANCELLED)
        elif isinstance(ending, Dead) or row.exhausted:
            self._end(row, Status.DEAD, ending.failure)
        else:
            row.note(ending.failure)
            self._back(row, now + int(ending.delay * 1e6), Status.RETRY)
        return APPLIED[row.status]

    def _refused(self, fence: Fence, operation: str) -> Answer:
        row = self._rows.get(fence.id)
        if row is not None and row.settled == (fence.claim_id, operation):
            return ALREADY[row.status]
        return STALE

    def _back(self, row: Row, due: int, status: Status) -> None:
        del self._running[row.draft.id]
        row.due = due
        self._index.place(row, status)
        self.pushed.notify()

    def _end(self, row: Row, status: Status, failure: Failure | None = None) -> None:
        self._running.pop(row.draft.id, None)
        row.status = status
        row.finished = self._micros()
        if failure is not None:
            row.note(failure)
        self._ended.add(row)

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """See `Backend.release`."""
        now = self._micros()
        return [self._released(item, now) for item in items]

    def _released(self, item: Release, now: int) -> Answer:
        row = self._fenced(item.fence)
        if row is None:
            return self._refused(item.fence, "release")
        row.attempt = max(row.attempt, item.attempt) - 1
        row.settled = (row.claim_id, "release")
        if item.delay > 0:
            self._back(row, now + int(item.delay * 1e6), Status.RETRY)
        else:
            self._back(row, row.due, Status.READY)
        return APPLIED[row.status]

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """See `Backend.reap`; the delay of a retried task is up to 1 s."""
        now, mono = self._micros(), self._clock()
        overdue = [row for row in self._running.values() if row.lease_until <= mono]
        return [self._reaped(row, now) for row in overdue[:limit]]

    def _reaped(self, row: Row, now: int) -> Reaped:
        draft = row.draft
        row.lost += 1
        row.settled = (row.claim_id, "reaped")
        failure = Failure(
            "worker_lost", f"lost worker {row.owner} ({row.lost} of {draft.max_lost})"
        )
        if row.cancel_requested:
            self._end(row, Status.CANCELLED)
        elif row.lost >= draft.max_lost or row.exhausted:
            self._end(row, Status.DEAD, failure)
        else:
            row.note(failure)
            self._back(row, now + random.randrange(1_000_000), Status.RETRY)  # noqa: S311 - spreads load
        return Reaped(draft.id, draft.name, row.status)

    async def fetch(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        """See `Backend.fetch`."""
        self._micros()
        return [row.record() if (row := self._rows.get(one)) else None for one in ids]

    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        """See `Backend.counts`; looks at every row."""
        found: dict[str, dict[Status, int]] = {}
        for row in self._rows.values():
            if row.draft.queue == queue:
                states = found.setdefault(row.draft.name, {})
                states[row.status] = states.get(row.status, 0) + 1
        return found

    async def names(self, queue: str, /) -> Sequence[str]:
        """See `Backend.names`."""
        self._micros()
        return self._index.names(queue)

    async def prune(self, limit: int, /) -> int:
        """See `Backend.prune`."""
        now = self._micros()
        waiting = (Status.READY, Status.SCHEDULED, Status.RETRY)
        overdue = [r for r in self._rows.values() if r.status in waiting and _expired(r, now)]
        for row in overdue[:limit]:
            self._expire(row)
        changed = min(len(overdue), limit)
        return changed + self._ended.prune(now, limit - changed)

    def _expire(self, row: Row) -> None:
        when = f"not started by {row.draft.expires_at}"
        self._end(row, Status.DEAD, Failure("expired", when))

    async def check(self) -> None:
        """See `Backend.check`: nothing can be wrong."""
        self._micros()

    def _micros(self) -> int:
        """Read the wall clock, after a look at the loop."""
        token = loop_token()
        if token is not self._loop:
            self._bind(token)
        now = self._now
        assert now is not None  # noqa: S101 - bound above
        return int(now() * 1e6)

    def _bind(self, token: object) -> None:
        if self._loop is not None:
            msg = (
                f"{self!r} belongs to another event loop; use one loop per MemoryStorage, "
                "or SqliteStorage, which several may share"
            )
            raise BackendError(msg)
        self._loop, self._clock = token, loop_clock()
        if self._now is None:
            offset, clock = time.time() - self._clock(), self._clock
            self._now = lambda: offset + clock()

    def __repr__(self) -> str:
        """Show the queue and the task names."""
        return f"MemoryStorage({', '.join(self.kinds.by_name)}, queue={self.queue!r})"


def _expired(row: Row, now: int) -> bool:
    expires = row.draft.expires_at
    return expires is not None and to_micros(expires) <= now
