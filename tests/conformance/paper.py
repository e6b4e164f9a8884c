"""
`Paper`: what must be true of a backend, worked out from what it is asked and answers.

It knows no other backend, and so finds a fault that all of them share. It
is slow and plain: one page per task, looked through from the start each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from layered.backend import (
    APPLIED,
    STALE,
    Answer,
    Cancelled,
    Change,
    Claimant,
    Claimed,
    Dead,
    Done,
    Limits,
    Pushed,
    Queue,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
    Verdict,
)
from layered.task import Draft, Fence, Lease, OnConflict, Status, from_micros, to_micros

FOREVER = float("inf")
UNSTARTED = {Status.SCHEDULED, Status.RETRY, Status.READY}
ENDS = {Done: Status.DONE, Retry: Status.RETRY, Dead: Status.DEAD, Cancelled: Status.CANCELLED}


@attrs.define(eq=False)
class Page:
    """One task. Instants are microseconds of the store's clock."""

    draft: Draft
    due: int
    epoch: int = 0
    attempt: int = 0
    lost: int = 0
    fence: Fence | None = None
    """Of the run that is under way."""
    lease_until: int = 0
    run_until: float = 0.0
    applied: tuple[bytes, object] | None = None
    ended: Status | None = None
    finished: int = 0
    result: bytes | None = None
    failures: int = 0
    asked: bool = False
    """Whether its run is asked to stop."""
    stripped: bool = False
    progress: bytes | None = None
    steps: dict[str, bytes] = attrs.field(factory=dict)

    @property
    def key(self) -> tuple[str, str] | None:
        """Queue and dedup key."""
        return (self.draft.queue, self.draft.dedup.key) if self.draft.dedup else None

    @property
    def exhausted(self) -> bool:
        """Whether the task's own bound allows no further run."""
        return self.draft.max_attempts is not None and self.attempt >= self.draft.max_attempts

    def expired(self, now: int) -> bool:
        """Whether the task must not start any more."""
        return self.draft.expires_at is not None and to_micros(self.draft.expires_at) <= now

    def end(self, status: Status, now: int) -> None:
        """Note the end."""
        assert self.ended is None, "an end is never left"
        self.fence, self.ended, self.finished = None, status, now


class Paper:
    """
    The pages of one backend.

    Args:
        clock: The clock that the backend goes by, leases included.
        limits: What the backend keeps.
    """

    def __init__(self, clock: Callable[[], float], limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self.pages: dict[str, Page] = {}
        self.keys: dict[tuple[str, str], tuple[Page, int]] = {}
        """Who took a key last, and until when at least."""
        self.pauses: dict[str, float] = {"default": 0}

    @property
    def _now(self) -> int:
        return int(self._clock() * 1e6)

    def pushed(self, drafts: Sequence[Draft], answers: Sequence[Pushed] | None) -> None:
        """Check a push, `None` if it was rejected: a known id changes nothing."""
        assert (answers is None) == self._conflicting(drafts)
        for draft, answer in zip(drafts, answers or (), strict=answers is not None):
            page, there = Page(draft, self._due(draft)), self.pages.get(draft.id)
            holder = self._holder(page.key)
            if there is not None:
                self._stands(there, answer.duplicate)
                assert answer == Pushed(draft.id, answer.duplicate)
            elif holder is not None:
                self._met(holder, page, answer)
            else:
                assert answer == Pushed(draft.id)
                self.pages[draft.id] = page
                self._hold(page)

    def _conflicting(self, drafts: Sequence[Draft]) -> bool:
        """Tell whether one of them finds its key held, if by one before it, and is rejected."""
        ids, keys = set(self.pages), {key for key in self.keys if self._holder(key)}
        for draft in drafts:
            key = Page(draft, 0).key
            if draft.id not in ids and key in keys:
                if draft.dedup and draft.dedup.on_conflict is OnConflict.REJECT:
                    return True
            elif draft.id not in ids:
                ids.add(draft.id)
                keys |= {key} if key else set()
        return False

    def _met(self, holder: Page, page: Page, answer: Pushed) -> None:
        """Check a push whose key is held: it replaces what waits, if it says so."""
        new, how = page.draft, page.draft.dedup and page.draft.dedup.on_conflict
        waits = holder.fence is None and holder.ended is None
        replaces = how is OnConflict.REPLACE and waits
        if replaces:
            holder.due = page.due
            holder.draft = holder.draft._replace(
                name=new.name, payload=new.payload, metadata=new.metadata, priority=new.priority,
                expires_at=new.expires_at, dedup=new.dedup,
            )  # fmt: skip
            self._hold(holder)
        self._stands(holder, answer.duplicate)
        assert answer == Pushed(holder.draft.id, answer.duplicate, replaced=replaces)

    def _hold(self, page: Page, *, window: bool = True) -> None:
        if page.draft.dedup and page.key:
            until = self._now + int(page.draft.dedup.window * 1e6) * window
            self.keys[page.key] = (page, until)

    def _holder(self, key: tuple[str, str] | None) -> Page | None:
        page, until = self.keys.get(key, (None, 0)) if key else (None, 0)
        return page if page is not None and (page.ended is None or self._now < until) else None

    def _due(self, draft: Draft) -> int:
        return self._now + int(draft.delay * 1e6) if draft.at is None else to_micros(draft.at)

    def cancelled(self, ids: Sequence[str], changes: Sequence[Change]) -> None:
        """Check a cancel: what waits ends, what runs is asked to stop, what has ended stays."""
        for id_, change in zip(ids, changes, strict=True):
            page = self.pages.get(id_)
            changed = page is not None and page.ended is None and not page.asked
            if page is not None and page.fence is not None:
                page.asked = True
            elif page is not None and changed:
                page.end(Status.CANCELLED, self._now)
            status = None if page is None else page.ended or Status.RUNNING
            assert change == Change(id_, status, changed)

    def requeued(self, ids: Sequence[str], changes: Sequence[Change]) -> None:
        """Check a requeue: of what is dead or cancelled, has its arguments, and gets its key."""
        for id_, change in zip(ids, changes, strict=True):
            assert change.id == id_
            page = self.pages.get(id_)
            if page is None or page.ended in {None, Status.DONE} or page.stripped:
                assert (change.changed, change.holder) == (False, None)
                assert (change.status is None) == (page is None)
                continue
            holder = self._holder(page.key)
            if holder is not None and holder is not page:
                assert change == Change(id_, page.ended, changed=False, holder=holder.draft.id)
                continue
            assert change == Change(id_, Status.READY, changed=True)
            if holder is None:
                self._hold(page, window=False)
            page.ended, page.asked, page.due = None, False, self._now
            page.attempt = page.lost = 0
            page.draft = page.draft._replace(expires_at=None)

    def progressed(self, fence: Fence, value: bytes, *, stored: bool) -> None:
        """Check progress: of the run under way, the last counts."""
        page = self._under(fence)
        assert stored == (page is not None)
        if page is not None:
            page.progress = value

    def kept(self, fence: Fence, step: str, value: bytes, answer: bytes | None) -> None:
        """Check a checkpoint: of the run under way, the first counts."""
        page = self._under(fence)
        assert answer == (None if page is None else page.steps.setdefault(step, value))

    def paused(self, queue: str, until: datetime | None) -> None:
        """Note a pause."""
        self.pauses[queue] = FOREVER if until is None else to_micros(until)

    def is_paused(self, queue: str) -> bool:
        """Tell whether claims must answer nothing."""
        return self.pauses.get(queue, 0) > self._now

    def resumed(self, queue: str) -> None:
        """Note the end of a pause."""
        if queue in self.pauses:
            self.pauses[queue] = 0

    def shown(
        self,
        queues: Sequence[Queue],
        holders: Mapping[tuple[str, str], str | None],
        steps: Mapping[str, Mapping[str, bytes]],
    ) -> None:
        """Check what there is to know besides tasks."""
        wanted = []
        for name, until in sorted(self.pauses.items()):
            ends = from_micros(int(until)) if self._now < until < FOREVER else None
            wanted.append(Queue(name, until > self._now, ends))
        assert list(queues) == wanted
        for key, found in holders.items():
            holder = self._holder(key)
            assert found == (holder and holder.draft.id)
        for id_, values in steps.items():
            assert values == (self.pages[id_].steps if id_ in self.pages else {})

    def claimed(
        self, claimant: Claimant, wanted: Mapping[str, int], most: int, claimed: Claimed
    ) -> None:
        """Check a claim: what it took, in which order, and that it left nothing that it could."""
        pause = self.pauses.get(claimant.queue, 0) - self._now
        if pause > 0:
            assert (list(claimed.leases), claimed.more) == ([], False)
            assert claimed.next_due_in == (None if pause == FOREVER else pause / 1e6)
            return
        due = [page for page in self._unstarted(claimant.queue, wanted) if page.due <= self._now]
        fine = [page for page in due if not page.expired(self._now)]
        names = Counter(page.draft.name for page in fine)
        assert len(claimed.leases) == min(most, (names & Counter(wanted)).total())
        ranks = [(-lease.priority, lease.due_at, lease.id) for lease in claimed.leases]
        assert ranks == sorted(ranks)
        for lease in claimed.leases:
            assert self.pages[lease.id] in fine, "due, wanted, in time, neither running nor ended"
            self._started(lease, claimant)
        for name, limit in wanted.items():
            assert sum(lease.name == name for lease in claimed.leases) <= limit
        self._expire(page for page in due if page not in fine)
        future = [page.due for page in self._unstarted(claimant.queue, wanted)]
        future = [due - self._now for due in future if due > self._now]
        if claimed.next_due_in != 0.0:
            assert claimed.next_due_in == (min(future) / 1e6 if future else None)

    def _started(self, lease: Lease, claimant: Claimant) -> None:
        page = self.pages[lease.id]
        assert lease.fence.epoch == page.epoch + 1, "epochs rise by one"
        assert len(lease.fence.claim_id) == 16
        assert not page.exhausted, "no more runs than max_attempts"
        page.epoch, page.attempt, page.fence = page.epoch + 1, page.attempt + 1, lease.fence
        page.lease_until = self._now + int(claimant.lease * 1e6)
        page.run_until = self._now + 1e6 * (1e9 if claimant.max_run is None else claimant.max_run)
        draft = page.draft
        assert (lease.payload, dict(lease.metadata)) == (draft.payload, dict(draft.metadata))
        found = (lease.attempt, lease.lost, lease.due_at, lease.max_attempts)
        assert found == (page.attempt, page.lost, page.due, draft.max_attempts)

    def renewed(self, items: Sequence[Renew], lease: float, answers: Sequence[Renewal]) -> None:
        """Check renewals: of the run under way only, within its limit."""
        for item, answer in zip(items, answers, strict=True):
            page = self._under(item.fence)
            if page is None or self._now > page.run_until:
                assert answer is Renewal.STALE
            else:
                assert answer is (Renewal.CANCEL if page.asked else Renewal.OK)
                page.lease_until = max(page.lease_until, self._now + int(lease * 1e6))
                page.attempt = max(page.attempt, item.attempt)

    def settled(self, items: Sequence[Settle], answers: Sequence[Answer]) -> None:
        """Check settles: of the run under way, or the same again."""
        for item, answer in zip(items, answers, strict=True):
            status, page = ENDS[type(item.ending)], self._under(item.fence)
            if page is None:
                self._refused(item.fence, status, answer)
                continue
            page.attempt = max(page.attempt, item.attempt)
            page.applied = (item.fence.claim_id, status)
            page.failures += isinstance(item.ending, Dead | Retry)
            if isinstance(item.ending, Retry) and page.asked and not page.exhausted:
                status = Status.CANCELLED
                page.end(status, self._now)
            elif isinstance(item.ending, Retry) and not page.exhausted:
                page.fence, page.due = None, self._now + int(item.ending.delay * 1e6)
            else:
                status = Status.DEAD if status is Status.RETRY else status
                page.end(status, self._now)
            if isinstance(item.ending, Done):
                page.result = item.ending.result
            assert answer == APPLIED[status]

    def released(self, items: Sequence[Release], answers: Sequence[Answer]) -> None:
        """Check releases: of the run under way, or the same again."""
        for item, answer in zip(items, answers, strict=True):
            page = self._under(item.fence)
            if page is None:
                self._refused(item.fence, "release", answer)
                continue
            page.attempt = max(page.attempt, item.attempt) - 1
            page.applied, page.fence = (item.fence.claim_id, "release"), None
            if page.asked:
                page.end(Status.CANCELLED, self._now)
                assert answer == APPLIED[Status.CANCELLED]
                continue
            if item.delay > 0:
                page.due = self._now + int(item.delay * 1e6)
            assert answer == APPLIED[Status.RETRY if item.delay > 0 else Status.READY]

    def reaped(self, answers: Sequence[Reaped], records: Mapping[str, Record]) -> None:
        """Check a reap of all that is overdue: that, and nothing else."""
        pages = self.pages.values()
        overdue = [page for page in pages if page.fence and page.lease_until <= self._now]
        assert sorted(each.id for each in answers) == sorted(page.draft.id for page in overdue)
        for page in overdue:
            assert page.fence is not None
            page.lost, page.failures = page.lost + 1, page.failures + (not page.asked)
            page.applied, page.fence = (page.fence.claim_id, "reaped"), None
            if page.asked:
                page.end(Status.CANCELLED, self._now)
            elif page.lost >= page.draft.max_lost or page.exhausted:
                page.end(Status.DEAD, self._now)
            else:
                page.due = to_micros(records[page.draft.id].due_at)
                assert self._now <= page.due <= self._now + 30_000_000
        for each in answers:
            assert each.status is (self.pages[each.id].ended or Status.RETRY)

    def pruned(self) -> None:
        """Note that everything was pruned that may be."""
        self._expire(page for page in self.pages.values() if page.expired(self._now))
        for id_, page in list(self.pages.items()):
            if page.ended is not None:
                dead = page.ended is Status.DEAD
                keep = self._limits.keep_dead if dead else self._limits.keep_done
                age = (self._now - page.finished) / 1e6
                if age >= max(keep, self._limits.tombstone) and self._holder(page.key) is not page:
                    del self.pages[id_]
                elif age >= keep:
                    page.draft = page.draft._replace(payload=b"", metadata={})
                    page.result, page.failures = None, 0
                    page.progress, page.steps, page.stripped = None, {}, True

    def read(self, records: Mapping[str, Record]) -> None:
        """Check what the backend knows of every task."""
        assert set(records) == set(self.pages)
        for id_, record in records.items():
            page = self.pages[id_]
            self._stands(page, record.status)
            found: Any = (record.payload, dict(record.metadata), record.attempt, record.epoch)
            draft = page.draft
            assert found == (draft.payload, dict(draft.metadata), page.attempt, page.epoch)
            found = (record.result, record.lost, len(record.errors), record.finished_at is None)
            assert found == (page.result, page.lost, min(page.failures, 5), page.ended is None)
            assert (record.progress, record.cancel_requested) == (page.progress, page.asked)

    def _under(self, fence: Fence) -> Page | None:
        page = self.pages.get(fence.id)
        return page if page is not None and page.fence == fence else None

    def _refused(self, fence: Fence, operation: object, answer: Answer) -> None:
        page = self.pages.get(fence.id)
        if page is None or page.applied != (fence.claim_id, operation):
            assert answer == STALE
        else:
            assert answer.verdict is Verdict.ALREADY
            self._stands(page, answer.status)

    def _stands(self, page: Page, status: Status | None) -> None:
        known = page.ended or (Status.RUNNING if page.fence else None)
        assert status is known or (known is None and status in UNSTARTED)
        assert status is not Status.READY or page.due <= self._now

    def _unstarted(self, queue: str, names: Iterable[str]) -> list[Page]:
        return [
            page
            for page in self.pages.values()
            if page.fence is None
            and page.ended is None
            and page.draft.queue == queue
            and page.draft.name in names
        ]

    def _expire(self, pages: Iterable[Page]) -> None:
        for page in pages:
            if page.fence is None and page.ended is None:
                page.failures += 1
                page.end(Status.DEAD, self._now)
