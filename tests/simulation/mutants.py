"""Faults put into layered, each of which the simulation must find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from layered.backend import ALREADY, Answer, Claimant, Claimed, Poll, Release, Renew, Settle
from layered.backend.types import Renewal
from layered.backends.memory.book import Book
from layered.backends.memory.line import Line
from layered.backends.memory.rows import Row
from layered.layers.retry.layer import _Series
from layered.task import Run, Status
from layered.worker import TaskEnded, pool, settle
from layered.worker.keeper import Keeper
from layered.worker.meaning import Meaning, meaning_of
from layered.worker.pool import Pool
from layered.worker.settle import Entry, Settler
from layered.worker.ticker import Ticker
from tests.simulation.replay import Outcome, simulate

_settle, _renew, _release, _refused = Book.settle, Book.renew, Book.release, Book._refused
_claim, _reap, _reaped, _put = Book.claim, Book.reap, Book._reaped, Line.put
_settler_put = Settler.put


def _owned(book: Book, item: Any) -> Any:
    """Give *item* the fence that its row has now."""
    row = book.rows[item.fence.id]
    return item._replace(fence=item.fence._replace(epoch=row.epoch, claim_id=row.claim_id))


def _settle_without_fence(self: Book, item: Settle, now: int) -> Answer:
    self._running.setdefault(item.fence.id, self.rows[item.fence.id])
    return _settle(self, _owned(self, item), now)


def _settle_fenced_by_state(self: Book, item: Settle, now: int) -> Answer:
    return _settle(self, _owned(self, item), now)


def _release_fenced_by_state(self: Book, item: Release, now: int) -> Answer:
    return _release(self, _owned(self, item), now)


def _renew_fenced_by_state(self: Book, item: Renew, lease: float, mono: float) -> Renewal:
    return _renew(self, _owned(self, item), lease, mono)


def _release_gives_the_epoch_back(self: Book, item: Release, now: int) -> Answer:
    answer = _release(self, item, now)
    self.rows[item.fence.id].epoch -= answer.status is not None
    return answer


def _release_charged(self: Book, item: Release, now: int) -> Answer:
    return _release(self, item._replace(attempt=item.attempt + 1), now)


def _already_for_stale(self: Book, fence: Any, operation: str) -> Answer:
    return ALREADY[self.rows[fence.id].status]


def _reaped_without_bound(self: Book, row: Row, now: int) -> Any:
    draft, row.draft = row.draft, row.draft._replace(max_lost=1000)
    try:
        return _reaped(self, row, now)
    finally:
        row.draft = draft


def _reap_of_live_leases(self: Book, limit: int, now: int, mono: float) -> Any:
    return _reap(self, limit, now, mono + 2)


def _claim_before_due(
    self: Book, claimant: Claimant, wanted: Mapping[str, int], most: int, now: int, mono: float
) -> Claimed:
    return _claim(self, claimant, wanted, most, now + 500_000, mono)


def _claim_of_unknown_names(
    self: Book, claimant: Claimant, wanted: Mapping[str, int], most: int, now: int, mono: float
) -> Claimed:
    return _claim(self, claimant, {**wanted, "Stranger": most}, most, now, mono)


def _put_without_priority(self: Line, rank: int, row: Row) -> None:
    _put(self, 0, row)


async def _wait_without_limit(self: Poll) -> None:
    self._sleep = float("inf")
    await _wait(self)


_wait = Poll.wait


def _end_that_wakes_nobody(self: Pool, entry: Entry) -> None:
    self._settler.put(entry)
    self.active -= 1


def _stray_for_enclosing(error: BaseException, run: Run | None = None) -> Meaning:
    meaning = meaning_of(error, run)
    if meaning is Meaning.STRAY:
        raise error
    return meaning


def _bound_off_by_one(self: _Series) -> str | None:
    self._state.attempt_number -= 1
    try:
        return _bound(self)
    finally:
        self._state.attempt_number += 1


_bound = _Series._bound


def _exhausted_off_by_one(self: Row) -> bool:
    return self.draft.max_attempts is not None and self.attempt > self.draft.max_attempts


async def _renew_nothing(self: Keeper, renews: object, post: object) -> None:
    pass


def _tell_before_it_is_durable(self: Settler, entry: Entry) -> None:
    record = entry.run.record
    if entry.error is None:
        self._bus.emit(TaskEnded(record.id, record.name, entry.run.attempt, Status.DONE, 0.0))
    _settler_put(self, entry)


def _status_of_now(entry: Entry, answer: Answer) -> Status | None:
    return answer.status


def _watch_whatever_the_time(self: Ticker, runs: Sequence[Run], lease_ends: float) -> None:
    for run in runs:
        run.lease_ends = lease_ends
    self._parked = False
    self._wake.set()


def _look_at_deadlines_only(self: Ticker) -> float:
    return self._step


class Mutant(NamedTuple):
    """What is replaced by what."""

    where: Any
    name: str
    by: Any


MUTANTS = {
    "settle without a fence": Mutant(Book, "settle", _settle_without_fence),
    "settle fenced by state only": Mutant(Book, "settle", _settle_fenced_by_state),
    "release fenced by state only": Mutant(Book, "release", _release_fenced_by_state),
    "renew fenced by state only": Mutant(Book, "renew", _renew_fenced_by_state),
    "epoch given back at release": Mutant(Book, "release", _release_gives_the_epoch_back),
    "release charged": Mutant(Book, "release", _release_charged),
    "ALREADY answered for STALE": Mutant(Book, "_refused", _already_for_stale),
    "poison pill without bound": Mutant(Book, "_reaped", _reaped_without_bound),
    "live leases reaped": Mutant(Book, "reap", _reap_of_live_leases),
    "claimed before due": Mutant(Book, "claim", _claim_before_due),
    "unknown names claimed": Mutant(Book, "claim", _claim_of_unknown_names),
    "priority ignored": Mutant(Line, "put", _put_without_priority),
    "poll waits for hints only": Mutant(Poll, "wait", _wait_without_limit),
    "free consumer wakes nobody": Mutant(Pool, "_end", _end_that_wakes_nobody),
    "stray cancellation kills the consumer": Mutant(pool, "meaning_of", _stray_for_enclosing),
    "retry off by one": Mutant(_Series, "_bound", _bound_off_by_one),
    "max_attempts off by one": Mutant(Row, "exhausted", property(_exhausted_off_by_one)),
    "nothing renewed": Mutant(Keeper, "renew_all", _renew_nothing),
    "told before it is durable": Mutant(Settler, "put", _tell_before_it_is_durable),
    "told what a task came to later": Mutant(settle, "_status_after", _status_of_now),
    "late claim started": Mutant(Ticker, "watch", _watch_whatever_the_time),
    "lost lease goes on": Mutant(Ticker, "_remaining", _look_at_deadlines_only),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Put the fault *name* into layered."""
    where, attribute, by = MUTANTS[name]
    with patch.object(where, attribute, by):
        yield


def first_seed_that_finds(name: str, most: int) -> Outcome | None:
    """Answer how the mutant is found, by the first seed below *most* that does."""
    with mutated(name):
        outcomes = (simulate(seed) for seed in range(most))
        return next((outcome for outcome in outcomes if outcome.failures), None)
