"""A stranger's backend: tasks in a dict, every operation a loop over all of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_bytes
from typing import Any, Self

from layered import backend
from layered.task import Draft, Fence, Lease, Status, from_micros, to_micros

LAST = to_micros(datetime.max.replace(tzinfo=UTC))
UNSTARTED = (Status.SCHEDULED, Status.RETRY, Status.READY)
EXPIRED = backend.Failure("expired", "not started in time")
ENDINGS = (backend.Done, backend.Dead, backend.Cancelled, backend.Retry)
ENDS = dict(zip(ENDINGS, (Status.DONE, Status.DEAD, Status.CANCELLED, Status.RETRY), strict=True))


@dataclass
class Row:
    """One task. Instants are microseconds."""

    draft: Draft
    status: Status
    due: int
    created: int
    attempt: int = 0
    lost: int = 0
    epoch: int = 0
    claim_id: bytes = b""
    owner: str | None = None
    lease_until: float = 0.0
    run_until: float = 0.0
    settled: tuple[bytes, object] | None = None
    finished: int | None = None
    result: bytes | None = None
    errors: list[backend.Failure] = field(default_factory=list)

    @property
    def exhausted(self) -> bool:
        return self.attempt >= (self.draft.max_attempts or math.inf)

    def move(self, status: Status, at: int, *failures: backend.Failure) -> None:
        """End at an instant, or be due at it."""
        self.status, self.errors = status, [*self.errors, *failures][-5:]
        if status.is_terminal:
            self.finished = at
        else:
            self.due = at

    def expired(self, now: int) -> bool:
        return self.draft.expires_at is not None and to_micros(self.draft.expires_at) <= now

    def lease(self) -> Lease:
        draft = self.draft
        return Lease(
            Fence(draft.id, self.epoch, self.claim_id), draft.queue, draft.name, draft.payload,
            draft.codec, draft.version, draft.metadata, draft.priority, self.attempt,
            draft.max_attempts, self.lost, self.due, self.created,
        )  # fmt: skip

    def record(self) -> backend.Record:
        draft, finished = self.draft, self.finished
        return backend.Record(
            id=draft.id, queue=draft.queue, name=draft.name, status=self.status,
            payload=draft.payload, codec=draft.codec, version=draft.version,
            metadata=dict(draft.metadata), priority=draft.priority, attempt=self.attempt,
            max_attempts=draft.max_attempts, lost=self.lost, epoch=self.epoch, owner=self.owner,
            due_at=from_micros(self.due), created_at=from_micros(self.created),
            finished_at=None if finished is None else from_micros(finished),
            result=self.result, errors=self.errors,
        )  # fmt: skip


class ToyStorage(backend.Storage[Any]):
    """Tasks in a dict. Leases and due times go by one clock."""

    def __init__(self, args: Any, now: Callable[[], float], limits: backend.Limits) -> None:
        super().__init__(args, "default", (), limits)
        self._rows: dict[str, Row] = {}
        self._now = now

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Keep everything."""

    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[backend.Pushed]:
        answers = [self._insert(draft) for draft in drafts]
        self.pushed.notify()
        return answers

    async def claim(
        self, claimant: backend.Claimant, wanted: Mapping[str, int], most: int, /
    ) -> backend.Claimed:
        now, left, leases, claim_id = self._micros(), dict(wanted), list[Lease](), token_bytes(16)
        examined = 0
        for row in self._unstarted(claimant.queue, wanted):
            if row.due > now or left[row.draft.name] <= 0:
                continue
            if len(leases) == most or examined == 2 * most:
                break
            examined += 1
            if row.expired(now):
                row.move(Status.DEAD, now, EXPIRED)
            else:
                left[row.draft.name] -= 1
                leases.append(self._start(row, claimant, claim_id))
        dues = [row.due for row in self._unstarted(claimant.queue, wanted)]
        future = [due - now for due in dues if due > now]
        next_due_in = min(future) / 1e6 if future else None
        return backend.Claimed(leases, len(future) < len(dues), next_due_in)

    async def renew(
        self, items: Sequence[backend.Renew], lease: float, /
    ) -> Sequence[backend.Renewal]:
        return [self._renew(item, lease) for item in items]

    async def settle(self, items: Sequence[backend.Settle], /) -> Sequence[backend.Answer]:
        answers = [self._settle(item) for item in items]
        self.pushed.notify()
        self.ended.notify()
        return answers

    async def release(self, items: Sequence[backend.Release], /) -> Sequence[backend.Answer]:
        answers = [self._release(item) for item in items]
        self.pushed.notify()
        return answers

    async def reap(self, limit: int, /) -> Sequence[backend.Reaped]:
        running = [row for row in self._rows.values() if row.status is Status.RUNNING]
        overdue = [row for row in running if row.lease_until <= self._now()]
        reaped = [self._reap(row) for row in overdue[:limit]]
        self.pushed.notify()
        self.ended.notify()
        return reaped

    async def fetch(self, ids: Sequence[str], /) -> Sequence[backend.Record | None]:
        return [row.record() if (row := self._rows.get(one)) else None for one in ids]

    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        counts = defaultdict[str, Counter[Status]](Counter)
        for row in self._rows.values():
            if row.draft.queue == queue:
                counts[row.draft.name][row.status] += 1
        return counts

    async def names(self, queue: str, /) -> Sequence[str]:
        return [name for name, counts in (await self.counts(queue)).items() if counts[Status.READY]]

    async def prune(self, limit: int, /) -> int:
        now, changed = self._micros(), 0
        for row in list(self._rows.values()):
            changed += changed < limit and self._prune(row, now)
        return changed

    async def check(self) -> None:
        """Nothing can be wrong with a dict."""

    def _micros(self, delay: float = 0.0) -> int:
        return min(int(self._now() * 1e6) + int(delay * 1e6), LAST)

    def _insert(self, draft: Draft) -> backend.Pushed:
        if row := self._rows.get(draft.id):
            return backend.Pushed(draft.id, row.status)
        due = self._micros(draft.delay) if draft.at is None else to_micros(draft.at)
        status = Status.READY if due <= self._micros() else Status.SCHEDULED
        self._rows[draft.id] = Row(draft, status, due, self._micros())
        return backend.Pushed(draft.id)

    def _prune(self, row: Row, now: int) -> bool:
        keep = self.limits.keep_dead if row.status is Status.DEAD else self.limits.keep_done
        age = -1.0 if row.finished is None else (now - row.finished) / 1e6
        if row.status in UNSTARTED and row.expired(now):
            row.move(Status.DEAD, now, EXPIRED)
        elif age >= max(keep, self.limits.tombstone):
            del self._rows[row.draft.id]
        elif age >= keep and row.draft.payload:
            row.draft = row.draft._replace(payload=b"", metadata={})
            row.result, row.errors = None, []
        else:
            return False
        return True

    def _unstarted(self, queue: str, names: Iterable[str]) -> list[Row]:
        rows = [row for row in self._rows.values() if row.status in UNSTARTED]
        rows = [row for row in rows if row.draft.queue == queue and row.draft.name in names]
        return sorted(rows, key=lambda row: (-row.draft.priority, row.due, row.draft.id))

    def _start(self, row: Row, claimant: backend.Claimant, claim_id: bytes) -> Lease:
        row.status, row.owner, row.claim_id = Status.RUNNING, claimant.owner, claim_id
        row.epoch, row.attempt = row.epoch + 1, row.attempt + 1
        row.lease_until = self._now() + claimant.lease
        row.run_until = self._now() + (math.inf if claimant.max_run is None else claimant.max_run)
        return row.lease()

    def _fenced(self, fence: Fence) -> Row | None:
        row = self._rows.get(fence.id)
        if row is None or row.status is not Status.RUNNING:
            return None
        return row if (row.epoch, row.claim_id) == (fence.epoch, fence.claim_id) else None

    def _renew(self, item: backend.Renew, lease: float) -> backend.Renewal:
        row = self._fenced(item.fence)
        if row is None or self._now() > row.run_until:
            return backend.Renewal.STALE
        row.lease_until = max(row.lease_until, self._now() + lease)
        row.attempt = max(row.attempt, item.attempt)
        return backend.Renewal.OK

    def _reap(self, row: Row) -> backend.Reaped:
        row.lost, row.settled = row.lost + 1, (row.claim_id, "reap")
        last = row.lost >= row.draft.max_lost or row.exhausted
        failure = backend.Failure("worker_lost", f"lost worker {row.owner}")
        row.move(Status.DEAD if last else Status.RETRY, self._micros(), failure)
        return backend.Reaped(row.draft.id, row.draft.name, row.status)

    def _refused(self, fence: Fence, operation: object) -> backend.Answer:
        row = self._rows.get(fence.id)
        same = row and row.settled == (fence.claim_id, operation)
        return backend.ALREADY[row.status] if row and same else backend.STALE

    def _settle(self, item: backend.Settle) -> backend.Answer:
        ending, status = item.ending, ENDS[type(item.ending)]
        row = self._fenced(item.fence)
        if row is None:
            return self._refused(item.fence, status)
        row.settled, row.attempt = (row.claim_id, status), max(row.attempt, item.attempt)
        if isinstance(ending, backend.Done):
            row.result = ending.result
        failures = (ending.failure,) if isinstance(ending, backend.Dead | backend.Retry) else ()
        delay = ending.delay if isinstance(ending, backend.Retry) else 0.0
        if status is Status.RETRY and row.exhausted:
            status, delay = Status.DEAD, 0.0
        row.move(status, self._micros(delay), *failures)
        return backend.APPLIED[row.status]

    def _release(self, item: backend.Release) -> backend.Answer:
        row = self._fenced(item.fence)
        if row is None:
            return self._refused(item.fence, "release")
        row.settled, row.attempt = (row.claim_id, "release"), max(row.attempt, item.attempt) - 1
        delayed = item.delay > 0
        due = self._micros(item.delay) if delayed else row.due
        row.move(Status.RETRY if delayed else Status.READY, due)
        return backend.APPLIED[row.status]
