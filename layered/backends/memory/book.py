"""
The book: every task, and every move that it may make, as plain functions of time.

Nothing here waits or looks at a clock: the storage says what time it is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_bytes

from layered.backend import (
    ALREADY,
    APPLIED,
    STALE,
    Answer,
    Cancelled,
    Change,
    Claimant,
    Claimed,
    Dead,
    Done,
    Failure,
    Limits,
    Pushed,
    Reaped,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
)
from layered.backends.memory.crew import Crew
from layered.backends.memory.ended import Ended
from layered.backends.memory.index import Index
from layered.backends.memory.keys import Keys
from layered.backends.memory.pauses import Pauses
from layered.backends.memory.rows import FOREVER, Row
from layered.task import Draft, Fence, Lease, OnConflict, Status, to_micros

OPERATIONS = {kind: kind.__name__.lower() for kind in (Done, Retry, Dead, Cancelled)}
LAST = to_micros(datetime.max.replace(tzinfo=UTC))
UNSTARTED = (Status.READY, Status.SCHEDULED, Status.RETRY)
REQUEUED = (Status.DEAD, Status.CANCELLED)


class Book:
    """
    All tasks of one storage. `now` is the wall clock in µs, `mono` the lease clock in s.

    Args:
        limits: Retention.
        keep: Most ended tasks.
        queue: The queue that is known from the start.
    """

    __slots__ = ("_ended", "_expiring", "_index", "_running", "crew", "keys", "pauses", "rows")

    def __init__(self, limits: Limits, keep: int, queue: str) -> None:
        self.rows: dict[str, Row] = {}
        self.keys = Keys()
        self.pauses = Pauses(queue)
        self.crew = Crew()
        self._index = Index()
        self._running: dict[str, Row] = {}
        self._expiring: list[Row] = []
        self._ended = Ended(self.rows, self.keys, limits, keep)

    def insert(self, draft: Draft, now: int) -> Pushed:
        """Store a task, unless one of its id is there, or one that holds its key."""
        row = self.rows.get(draft.id)
        if row is not None:
            return Pushed(draft.id, row.status)
        due = _after(now, draft.delay) if draft.at is None else to_micros(draft.at)
        if draft.dedup is not None and (holder := self.keys.holder_for(draft, now)):
            return self._met(holder, draft, due, now)
        self._add(Row(draft, now, due), now)
        return Pushed(draft.id)

    def claim(
        self, claimant: Claimant, wanted: Mapping[str, int], most: int, now: int, mono: float
    ) -> Claimed:
        """Lease due tasks, the best first; end the expired ones among those looked at."""
        if paused := self.pauses.left(claimant.queue, now):
            return Claimed((), next_due_in=None if paused == FOREVER else paused)
        queue, claim_id, examined = claimant.queue, token_bytes(16), 0
        leases: list[Lease] = []
        left = dict(wanted)
        rows = self._index.take(queue, left, now, most)
        while len(leases) < most and examined < 2 * most and (row := next(rows, None)):
            examined += 1
            if _expired(row, now):
                self._expire(row, now)
            else:
                leases.append(row.run(claimant, claim_id, mono))
                self._running[row.draft.id] = row
                left[row.draft.name] -= 1
        due = self._index.next_due(queue, wanted)
        # What is due and was not promoted for lack of room counts, too.
        more = examined == 2 * most or (due is not None and due <= now)
        more = more or (len(leases) == most and self._index.has_ready(queue, wanted))
        return Claimed(leases, more, None if due is None else max(due - now, 0) / 1e6)

    def renew(self, item: Renew, lease: float, mono: float) -> Renewal:
        """Extend a lease."""
        row = self._fenced(item.fence)
        if row is None or mono > row.run_deadline:
            return Renewal.STALE
        row.lease_until = max(row.lease_until, mono + lease)
        row.attempt = max(row.attempt, item.attempt)
        return Renewal.CANCEL if row.cancel_requested else Renewal.OK

    def settle(self, item: Settle, now: int) -> Answer:
        """End a run."""
        ending = item.ending
        operation = OPERATIONS[type(ending)]
        row = self._fenced(item.fence)
        if row is None:
            return self._refused(item.fence, operation)
        row.attempt = max(row.attempt, item.attempt)
        row.settled = (row.claim_id, operation)
        if isinstance(ending, Done):
            row.result = ending.result
            self._end(row, Status.DONE, now)
        elif isinstance(ending, Cancelled):
            self._end(row, Status.CANCELLED, now)
        elif isinstance(ending, Dead) or row.exhausted:
            self._end(row, Status.DEAD, now, ending.failure)
        elif row.cancel_requested:
            self._end(row, Status.CANCELLED, now, ending.failure)
        else:
            row.note(ending.failure)
            self._back(row, _after(now, ending.delay), Status.RETRY)
        return APPLIED[row.status]

    def release(self, item: Release, now: int) -> Answer:
        """Give a claimed task back, uncharged."""
        row = self._fenced(item.fence)
        if row is None:
            return self._refused(item.fence, "release")
        row.attempt = max(row.attempt, item.attempt) - 1
        row.settled = (row.claim_id, "release")
        if row.cancel_requested:
            self._end(row, Status.CANCELLED, now)
        elif item.delay > 0:
            self._back(row, _after(now, item.delay), Status.RETRY)
        else:
            self._back(row, row.due, Status.READY)
        return APPLIED[row.status]

    def reap(self, limit: int, now: int, mono: float) -> list[Reaped]:
        """Take tasks from lost workers; a retried one comes back after up to 1 s."""
        overdue = [row for row in self._running.values() if row.lease_until <= mono]
        return [self._reaped(row, now) for row in overdue[:limit]]

    def cancel(self, task_id: str, now: int) -> Change:
        """Cancel a task that does not run; ask one that runs to stop."""
        row = self.rows.get(task_id)
        if row is None:
            return Change(task_id, None, changed=False)
        changed = not (row.status.is_terminal or row.cancel_requested)
        if row.status is Status.RUNNING:
            row.cancel_requested = True
        elif changed:
            self._index.withdraw(row, Status.CANCELLED)
            self._end(row, Status.CANCELLED, now)
        return Change(task_id, row.status, changed)

    def requeue(self, ids: Sequence[str], now: int) -> list[Change]:
        """Make ended tasks ready, but those that are done, stripped, or have lost their key."""
        changes = [self._requeue(one, now) for one in ids]
        self._ended.leave({self.rows[change.id] for change in changes if change.changed})
        return changes

    def progress(self, fence: Fence, value: bytes) -> bool:
        """Keep how far a run has come."""
        if row := self._fenced(fence):
            row.progress = value
        return row is not None

    def checkpoint(self, fence: Fence, step: str, value: bytes) -> bytes | None:
        """Keep what a step gave, unless something is kept of it."""
        if row := self._fenced(fence):
            row.steps = row.steps or {}
            return row.steps.setdefault(step, value)
        return None

    def prune(self, limit: int, now: int) -> int:
        """End what has expired, and drop what has ended long ago."""
        self._expiring = [row for row in self._expiring if not row.status.is_terminal]
        overdue = [row for row in self._expiring if row.status in UNSTARTED and _expired(row, now)]
        for row in overdue[:limit]:
            self._index.withdraw(row, Status.DEAD)
            self._expire(row, now)
        self.crew.prune(now)
        changed = min(len(overdue), limit)
        return changed + self._ended.prune(now, limit - changed)

    def names(self, queue: str) -> list[str]:
        """List the names that have ready tasks."""
        return self._index.names(queue)

    def _add(self, row: Row, now: int) -> None:
        draft = row.draft
        self.rows[draft.id] = row
        self._index.place(row, Status.READY if row.due <= now else Status.SCHEDULED)
        if draft.expires_at is not None:
            self._expiring.append(row)
        if draft.dedup is not None:
            self.keys.take(row, _after(now, draft.dedup.window))

    def _met(self, holder: Row, draft: Draft, due: int, now: int) -> Pushed:
        """Answer a push whose key is held; put its draft in the holder's place if it says so."""
        replaces = draft.dedup and draft.dedup.on_conflict is OnConflict.REPLACE
        if not replaces or holder.status not in UNSTARTED:
            return Pushed(holder.draft.id, holder.status)
        row = holder.replaced(draft, due)
        self._index.withdraw(holder, Status.CANCELLED)
        self._add(row, now)
        return Pushed(row.draft.id, row.status, replaced=True)

    def _requeue(self, task_id: str, now: int) -> Change:
        row = self.rows.get(task_id)
        if row is None:
            return Change(task_id, None, changed=False)
        if row.status not in REQUEUED or row.stripped:
            return Change(task_id, row.status, changed=False)
        holder = self.keys.holder_for(row.draft, now)
        if holder is None:
            self.keys.take(row, now)
        elif holder is not row:
            return Change(task_id, row.status, changed=False, holder=holder.draft.id)
        row.requeue(now)
        self._index.place(row, Status.READY)
        return Change(task_id, row.status, changed=True)

    def _fenced(self, fence: Fence) -> Row | None:
        """Answer the row if the fence still holds."""
        row = self._running.get(fence.id)
        if row is None or row.epoch != fence.epoch or row.claim_id != fence.claim_id:
            return None
        return row

    def _refused(self, fence: Fence, operation: str) -> Answer:
        row = self.rows.get(fence.id)
        if row is not None and row.settled == (fence.claim_id, operation):
            return ALREADY[row.status]
        return STALE

    def _reaped(self, row: Row, now: int) -> Reaped:
        draft = row.draft
        row.lost += 1
        row.settled = (row.claim_id, "reaped")
        told = f"lost worker {row.owner} ({row.lost} of {draft.max_lost})"
        failure = Failure("worker_lost", told)
        if row.cancel_requested:
            self._end(row, Status.CANCELLED, now)
        elif row.lost >= draft.max_lost or row.exhausted:
            self._end(row, Status.DEAD, now, failure)
        else:
            row.note(failure)
            delay = random.randrange(1_000_000)  # noqa: S311 - spreads load
            self._back(row, now + delay, Status.RETRY)
        return Reaped(draft.id, draft.name, row.status)

    def _back(self, row: Row, due: int, status: Status) -> None:
        del self._running[row.draft.id]
        row.due = due
        self._index.place(row, status)

    def _expire(self, row: Row, now: int) -> None:
        when = f"not started by {row.draft.expires_at}"
        self._end(row, Status.DEAD, now, Failure("expired", when))

    def _end(self, row: Row, status: Status, now: int, failure: Failure | None = None) -> None:
        self._running.pop(row.draft.id, None)
        row.status = status
        row.finished = now
        if failure is not None:
            row.note(failure)
        self._ended.add(row)


def _after(now: int, seconds: float) -> int:
    """Answer the instant *seconds* later; the last of the calendar if it is beyond that."""
    return min(now + int(seconds * 1e6), LAST)


def _expired(row: Row, now: int) -> bool:
    expires = row.draft.expires_at
    return expires is not None and to_micros(expires) <= now
