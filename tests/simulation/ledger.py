"""
The ledger: what every row must be, worked out from the contract and not from the store's code.

After each operation the rows that the store has are compared with those
that the contract leads to. So a change that nobody may make is found at
the operation that made it, in whichever row it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from layered import Status
from layered.backend import (
    APPLIED,
    Answer,
    Cancelled,
    Claimant,
    Claimed,
    Dead,
    Done,
    Pushed,
    Reaped,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
    Verdict,
)
from layered.task import Draft, Fence, Lease, to_micros
from tests.simulation.scheduling import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

WAITING = (Status.SCHEDULED, Status.RETRY, Status.READY)


class Entry(NamedTuple):
    """A row: what the contract speaks of."""

    status: Status
    epoch: int
    claim_id: bytes
    attempt: int
    lost: int
    due: int
    lease_until: float
    result: bytes | None


class Ledger:
    """
    All rows as they must be.

    Args:
        world: Has the store and its clocks, and is told of each rule that was broken.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._calm = world.calm
        self._broken = world.broken
        self._store = world.store._book.rows
        self._seen: Mapping[str, Entry] = {}
        self.rows: dict[str, Entry] = {}
        self.drafts: dict[str, Draft] = {}
        self.ends: Counter[tuple[str, str, int, Status]] = Counter()
        """Ends that were applied and not told yet: process, task, attempt, state."""
        self.reaped: Counter[tuple[str, str, Status]] = Counter()
        self._settled: dict[str, tuple[bytes, str]] = {}
        self._claims: set[bytes] = set()
        self._run_until: dict[str, float] = {}

    def observe(self, operation: str, process: Process, sent: Sequence[Any], answer: Any) -> None:
        """Work out what *operation* must have done, and compare."""
        self._seen = found = {one: Entry._make(_look(row)) for one, row in self._store.items()}
        before = dict(self.rows)
        judge = getattr(self, f"_{operation}", None)
        if judge is not None:
            judge(process.name, *sent, answer)
        if found != self.rows:
            for one in {**found, **self.rows}:
                if found.get(one) != self.rows.get(one):
                    text = f"{operation} left {one} as {found.get(one)}"
                    self._broken(f"{text}, must be {self.rows.get(one)}")
            self.rows = found
        for one, row in self.rows.items():
            if (was := before.get(one)) != row:
                self._world.note(
                    process.name, operation, one, row.status.label, row.epoch, row.attempt
                )
                if row.status in WAITING and (was is None or was.status not in WAITING):
                    self._calm.came(one)
        self._calm.look()

    def holds(self, fence: Fence) -> bool:
        """Tell whether the run of *fence* owns its task."""
        row = self.rows.get(fence.id)
        return row is not None and row[:3] == (Status.RUNNING, fence.epoch, fence.claim_id)

    def _insert(self, who: str, drafts: Sequence[Draft], told: Sequence[Pushed]) -> None:
        now = self._now
        for draft, answer in zip(drafts, told, strict=True):
            known = self.rows.get(draft.id)
            if known is None:
                due = now + int(draft.delay * 1e6) if draft.at is None else to_micros(draft.at)
                status = Status.READY if due <= now else Status.SCHEDULED
                self.rows[draft.id] = Entry(status, 0, b"", 0, 0, due, 0.0, None)
                self.drafts[draft.id] = draft
            self._same(answer.duplicate, known and known.status, "the answer to a push")

    def _claim(
        self,
        who: str,
        claimant: Claimant,
        wanted: Mapping[str, int],
        most: int,
        told: Claimed,
    ) -> None:
        leases = told.leases
        ids = {lease.fence.claim_id for lease in leases}
        if ids & self._claims or len(ids) > 1:
            self._broken("a claim id is not fresh")
        self._claims |= ids
        taken = Counter(lease.name for lease in leases)
        if len(leases) > most or any(n > wanted.get(name, 0) for name, n in taken.items()):
            self._broken(f"claimed {taken}, asked for {most} of {wanted}")
        self._promote(wanted)
        self._in_order(leases, wanted, taken, all_wanted=len(leases) < most and not told.more)
        for lease in leases:
            self._lease(lease, claimant, who)

    def _promote(self, wanted: Mapping[str, int]) -> None:
        """Promote what was due, and end what has expired, where the store did."""
        for one, row in self.rows.items():
            now = self._seen[one].status
            if (
                now is row.status
                or row.status not in WAITING
                or self.drafts[one].name not in wanted
            ):
                continue
            if row.status is not Status.READY and row.due > self._now:
                self._broken(f"{one} was promoted {(row.due - self._now) / 1e6} s before its time")
            ended = now is Status.DEAD and self._expired(one)
            self.rows[one] = row._replace(status=Status.DEAD if ended else Status.READY)

    def _in_order(
        self,
        leases: Sequence[Lease],
        wanted: Mapping[str, int],
        taken: Counter[str],
        *,
        all_wanted: bool,
    ) -> None:
        ranks = [self._rank(lease.id) for lease in leases]
        if ranks != sorted(ranks):
            self._broken(f"claimed out of order: {ranks}")
        leased = {lease.id for lease in leases}
        for one, row in self.rows.items():
            name = self.drafts[one].name
            open_to = row.status is Status.READY and one not in leased
            if not open_to or taken[name] >= wanted.get(name, 0) or self._expired(one):
                continue
            if all_wanted or (ranks and self._rank(one) < ranks[-1]):
                self._broken(f"{one} was ready and left out of a claim of {ranks}")

    def _lease(self, lease: Lease, claimant: Claimant, who: str) -> None:
        self._calm.leased(lease, who)
        draft, row = self.drafts[lease.id], self.rows[lease.id]
        if row.status is not Status.READY or self._expired(lease.id):
            self._broken(f"{lease.id} was claimed as {row}")
        self.rows[lease.id] = row = row._replace(
            status=Status.RUNNING,
            epoch=row.epoch + 1,
            claim_id=lease.fence.claim_id,
            attempt=row.attempt + 1,
            lease_until=trio.current_time() + claimant.lease,
        )
        limit = float("inf") if claimant.max_run is None else claimant.max_run
        self._run_until[lease.id] = trio.current_time() + limit
        self._same(lease.fence.epoch, row.epoch, f"the epoch of {lease.id}")
        self._same(lease.attempt, row.attempt, f"the attempt of {lease.id}")
        self._same(lease.payload, draft.payload, f"the payload of {lease.id}")
        if row.attempt > (draft.max_attempts or row.attempt):
            self._broken(f"{lease.id} was claimed for run {row.attempt} of {draft.max_attempts}")

    def _renew(
        self,
        who: str,
        items: Sequence[Renew],
        lease: float,
        told: Sequence[Renewal],
    ) -> None:
        for (fence, attempt), answer in zip(items, told, strict=True):
            good = self.holds(fence) and trio.current_time() <= self._run_until[fence.id]
            self._same(answer, Renewal.OK if good else Renewal.STALE, f"the renewal of {fence}")
            if good:
                row = self.rows[fence.id]
                until = max(row.lease_until, trio.current_time() + lease)
                most = max(row.attempt, attempt)
                self.rows[fence.id] = row._replace(lease_until=until, attempt=most)

    def _settle(self, who: str, items: Sequence[Settle], told: Sequence[Answer]) -> None:
        for (fence, ending, attempt), answer in zip(items, told, strict=True):
            row = self._fenced(fence, type(ending).__name__, answer)
            if row is None:
                continue
            most = self.drafts[fence.id].max_attempts
            row = row._replace(attempt=max(row.attempt, attempt))
            if isinstance(ending, Done):
                row = row._replace(status=Status.DONE, result=ending.result)
            elif isinstance(ending, Cancelled):
                row = row._replace(status=Status.CANCELLED)
            elif isinstance(ending, Dead) or (most is not None and row.attempt >= most):
                row = row._replace(status=Status.DEAD)
            elif isinstance(ending, Retry):
                row = row._replace(status=Status.RETRY, due=self._now + int(ending.delay * 1e6))
            self._applied(who, fence, row, attempt, answer)

    def _release(self, who: str, items: Sequence[Release], told: Sequence[Answer]) -> None:
        for (fence, delay, attempt), answer in zip(items, told, strict=True):
            row = self._fenced(fence, "release", answer)
            if row is None:
                continue
            row = row._replace(attempt=max(row.attempt, attempt) - 1, status=Status.READY)
            if delay > 0:
                row = row._replace(status=Status.RETRY, due=self._now + int(delay * 1e6))
            self._applied(who, fence, row, attempt, answer)

    def _fenced(self, fence: Fence, operation: str, answer: Answer) -> Entry | None:
        """Answer the row that the write of *fence* changes; `None` if it must be refused."""
        if self.holds(fence):
            self._settled[fence.id] = fence.claim_id, operation
            return self.rows[fence.id]
        known = self._settled.get(fence.id) == (fence.claim_id, operation)
        wanted = Verdict.ALREADY if known else Verdict.STALE
        self._same(answer.verdict, wanted, f"the verdict on {operation} of {fence}")
        return None

    def _applied(self, who: str, fence: Fence, row: Entry, attempt: int, answer: Answer) -> None:
        self.rows[fence.id] = row
        self._same(answer, APPLIED[row.status], f"the answer to the end of {fence}")
        self.ends[who, fence.id, attempt, row.status] += 1

    def _reap(self, who: str, limit: int, told: Sequence[Reaped]) -> None:
        overdue = {
            one: row
            for one, row in self.rows.items()
            if row.status is Status.RUNNING and row.lease_until <= trio.current_time()
        }
        for one, row in overdue.items():
            self._calm.lost(one)
            draft, lost, due = self.drafts[one], row.lost + 1, self._seen[one].due
            spent = draft.max_attempts is not None and row.attempt >= draft.max_attempts
            if lost >= draft.max_lost or spent:
                self.rows[one] = row._replace(status=Status.DEAD, lost=lost)
            elif not 0 <= due - self._now < 1_000_000:
                self._broken(f"{one} was reaped and comes back in {(due - self._now) / 1e6} s")
            else:
                self.rows[one] = row._replace(status=Status.RETRY, lost=lost, due=due)
            self._settled[one] = row.claim_id, "reaped"
        self._same(sorted(one.id for one in told), sorted(overdue), "what was reaped")
        self.reaped.update((who, one.id, one.status) for one in told)

    def _prune(self, who: str, limit: int, told: int) -> None:
        for one, row in self.rows.items():
            if row.status in WAITING and self._expired(one):
                self.rows[one] = row._replace(status=Status.DEAD)

    def _expired(self, one: str) -> bool:
        expires = self.drafts[one].expires_at
        return expires is not None and to_micros(expires) <= self._now

    def _rank(self, one: str) -> tuple[int, int, str]:
        return -self.drafts[one].priority, self.rows[one].due, one

    @property
    def _now(self) -> int:
        return self._world.store._micros()

    def _same(self, found: object, wanted: object, what: str) -> None:
        if found != wanted:
            self._broken(f"{what} is {found!r}, must be {wanted!r}")


_look = attrgetter(*Entry._fields)
