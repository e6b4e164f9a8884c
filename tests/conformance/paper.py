"""
`Paper`: what must be true of a backend, worked out from what it is asked and answers.

It knows no other backend, and so finds a fault that all of them share. It
is slow and plain: one page per task, looked through from the start each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from layered.backend import (
    APPLIED,
    STALE,
    Answer,
    Cancelled,
    Claimant,
    Claimed,
    Dead,
    Done,
    Limits,
    Pushed,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
    Verdict,
)
from layered.task import Draft, Fence, Lease, Status, to_micros

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

    @property
    def _now(self) -> int:
        return int(self._clock() * 1e6)

    def pushed(self, drafts: Sequence[Draft], answers: Sequence[Pushed]) -> None:
        """Check a push: a known id changes nothing."""
        known = set(self.pages)
        for draft, answer in zip(drafts, answers, strict=True):
            assert answer.id == draft.id
            assert (answer.duplicate is not None) == (draft.id in known)
            if draft.id not in known:
                known.add(draft.id)
                at = self._now + int(draft.delay * 1e6) if draft.at is None else to_micros(draft.at)
                self.pages[draft.id] = Page(draft, at)

    def claimed(
        self, claimant: Claimant, wanted: Mapping[str, int], most: int, claimed: Claimed
    ) -> None:
        """Check a claim: what it took, in which order, and that it left nothing that it could."""
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
                assert answer is Renewal.OK
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
            if isinstance(item.ending, Retry) and not page.exhausted:
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
            page.lost, page.failures = page.lost + 1, page.failures + 1
            page.applied, page.fence = (page.fence.claim_id, "reaped"), None
            if page.lost >= page.draft.max_lost or page.exhausted:
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
                if age >= max(keep, self._limits.tombstone):
                    del self.pages[id_]
                elif age >= keep:
                    page.draft = page.draft._replace(payload=b"", metadata={})
                    page.result, page.failures = None, 0

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
