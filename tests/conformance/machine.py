"""`Machine`: random operations on a backend, beside the memory backend and beside paper."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from layered.backend import (
    Cancelled,
    Claimant,
    Dead,
    Done,
    Ending,
    Failure,
    Limits,
    Pushed,
    Record,
    Release,
    Renew,
    Retry,
    Settle,
    Storage,
)
from layered.backends.memory import MemoryStorage
from layered.backends.sqlite import SqliteStorage
from layered.errors import Conflict
from layered.task import Dedup, Draft, Fence, Lease, OnConflict, Status
from layered.testing.conformance.backend import Clock
from tests.conformance.paper import Paper
from tests.conformance.storages import BACKENDS

T = TypeVar("T")

Change: TypeAlias = Callable[[Fence], Fence]
Write: TypeAlias = tuple[str, Any]
"""Settle, with the ending; release, with the delay; renew, with the seconds."""

ALL = 1000
"""More than there will ever be."""
LIMITS = Limits(keep_done=5.0, keep_dead=60.0, tombstone=30.0)
TIMES = [0.0, 0.25, 1.0, 5.0, 30.0, 60.0, 100.0]
"""Seconds: exact as floats, so that both sides add them up to the same microsecond."""
SECONDS = st.sampled_from(TIMES)
INSTANTS = [Clock().now + timedelta(seconds=seconds - 1) for seconds in TIMES]
FAILURES = st.sampled_from([Failure("ValueError", "no"), Failure("Error", "", "in handler")])
ENDINGS: st.SearchStrategy[Ending] = st.one_of(
    st.sampled_from([Done(None), Done(b""), Done(b"1"), Cancelled()]),
    st.builds(Retry, FAILURES, SECONDS),
    st.builds(Dead, FAILURES),
)
NAMES = st.sampled_from("aaabbc")
QUEUES = st.sampled_from([*["default"] * 9, "other"])


def seldom(usual: T, others: Sequence[T]) -> st.SearchStrategy[T]:
    """Give *usual* three times out of four; few draws make room for many steps."""
    return st.sampled_from([*[usual] * 3 * len(others), *others])


IDS = st.integers(0, 20).map(lambda number: str(UUID(int=number)))
KEYS = "xy"
DEDUPS = [Dedup(key, how, window) for key in KEYS for how in OnConflict for window in (0.0, 5.0)]
DRAFTS = st.builds(
    Draft,
    id=IDS,
    queue=QUEUES,
    name=NAMES,
    payload=st.sampled_from([b"1", b"\x00"]),
    codec=st.just("json"),
    version=st.just(1),
    metadata=seldom({}, [{"key": "value"}]),
    priority=seldom(5, [0, 9]),
    delay=seldom(0.0, TIMES),
    at=seldom(None, INSTANTS),
    expires_at=seldom(None, INSTANTS),
    max_attempts=seldom(None, [1, 2, 3]),
    max_lost=st.integers(1, 3),
    dedup=seldom(None, DEDUPS),
    run_id=st.none(),
    step=st.none(),
    on_end=st.none(),
)
CLAIMANTS = st.builds(
    Claimant,
    queue=QUEUES,
    owner=st.sampled_from(["one", "two"]),
    lease=st.sampled_from([0.0, 1.0, 60.0]),
    max_run=seldom(None, TIMES),
)
WRITES: st.SearchStrategy[Write] = st.one_of(
    st.tuples(st.just("settle"), ENDINGS),
    st.tuples(st.just("release"), SECONDS),
    st.tuples(st.just("renew"), SECONDS),
)
CHANGES: st.SearchStrategy[Change] = st.sampled_from(
    [
        lambda fence: fence._replace(epoch=fence.epoch - 1),
        lambda fence: fence._replace(epoch=fence.epoch + 1),
        lambda fence: fence._replace(claim_id=bytes(16)),
    ]
)
ATTEMPTS = st.integers(1, 4)
MOST = [1, 2, 3, ALL]
WANTED = st.sampled_from(["abc", "ab", "a", "b"])


class Side(NamedTuple):
    """One backend, and the paper on it."""

    storage: Storage[Any]
    paper: Paper


@attrs.frozen
class Taken:
    """One claimed task: its lease on each side. They differ in the claim id only."""

    leases: tuple[Lease, ...]
    most: int | None

    @property
    def fences(self) -> Sequence[Fence]:
        """The fence of each side."""
        return [lease.fence for lease in self.leases]

    def sent(self, attempt: int) -> int:
        """Answer a ledger that a worker may send: no worker exceeds the task's bound."""
        return attempt if self.most is None else min(attempt, self.most)


class Machine(RuleBasedStateMachine):
    """Does everything on both sides, and compares."""

    name = "memory"
    taken = Bundle[Taken]("taken")
    fresh = Bundle[Taken]("fresh")
    """Those of `taken` with which nothing was done yet."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.sides: list[Side] = []
        self.ids: dict[str, None] = {}
        self.some_taken = False
        for name in ("memory", self.name):
            storage = BACKENDS[name](Path(self.folder.name))(self.clock, LIMITS)
            self.runner.run(self.clock.advance(0))  # sets the clock of a server
            self.runner.run(storage.__aenter__())
            self.runner.run(storage.check())  # binds memory to the loop, and to its clock
            lease_by(storage, self.clock)
            self.sides.append(Side(storage, Paper(self.clock, LIMITS)))

    def teardown(self) -> None:
        """Close both."""
        for side in self.sides:
            self.runner.run(side.storage.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    def on_both(self, work: Callable[[int, Storage[Any]], Coroutine[Any, Any, T]]) -> list[T]:
        """Do the same on both sides."""
        return [self.runner.run(work(at, side.storage)) for at, side in enumerate(self.sides)]

    def records(self) -> list[dict[str, Record]]:
        """Read every task, on both sides."""
        found = self.on_both(lambda _, storage: storage.fetch(list(self.ids)))
        return [{record.id: record for record in each if record} for each in found]

    @initialize(drafts=st.lists(DRAFTS, min_size=1, max_size=4))
    def begin(self, drafts: list[Draft]) -> None:
        """Have something to begin with."""
        self.push(drafts)

    @rule(drafts=st.lists(DRAFTS, min_size=1, max_size=3))
    def push(self, drafts: list[Draft]) -> None:
        """Push tasks in one call, some of them again, or with a key that is held."""
        answers = self.on_both(lambda _, storage: inserted(storage, drafts))
        self.ids.update(dict.fromkeys(draft.id for draft in drafts))
        for side, each in zip(self.sides, answers, strict=True):
            side.paper.pushed(drafts, each)
        same(answers)

    @precondition(lambda self: self.some_unstarted())
    @rule(targets=(taken, fresh), claimant=CLAIMANTS, names=WANTED, most=st.sampled_from(MOST))
    def claim(self, claimant: Claimant, names: str, most: int) -> Any:
        """Claim a few, or all that are due, and pair what was claimed."""
        if self.sides[0].paper.is_paused(claimant.queue) and self.due(claimant.queue):
            return multiple()  # whether such a claim promotes is not promised
        if most < ALL:
            self.prune()
            most = most if self.choice_is_promised(claimant.queue, most) else ALL
        wanted = {name: most + at for at, name in enumerate(names)}
        answers = self.on_both(lambda _, storage: storage.claim(claimant, wanted, most + 1))
        for side, each in zip(self.sides, answers, strict=True):
            side.paper.claimed(claimant, wanted, most + 1, each)
        same([[without_claim_id(lease) for lease in each.leases] for each in answers])
        same([answer.next_due_in for answer in answers])
        pairs = [*zip(*(answer.leases for answer in answers), strict=True)]
        self.some_taken = self.some_taken or bool(pairs)
        return multiple(*(Taken(pair, pair[0].max_attempts) for pair in pairs))

    @rule(run=consumes(fresh), write=WRITES, attempt=ATTEMPTS)
    def write(self, run: Taken, write: Write, attempt: int) -> None:
        """Do something with a run, for the first time."""
        self.write_on_both([run.fences], write, run.sent(attempt))

    @precondition(lambda self: self.some_taken)
    @rule(runs=st.lists(taken, min_size=1, max_size=3), write=WRITES, attempt=ATTEMPTS)
    def write_again(self, runs: list[Taken], write: Write, attempt: int) -> None:
        """Do the same with several runs, under way or not, or with one of them twice."""
        attempt = min(run.sent(attempt) for run in runs)
        self.write_on_both([run.fences for run in runs], write, attempt)

    @rule(one=fresh, other=fresh, change=CHANGES, write=WRITES, attempt=ATTEMPTS)
    def write_with_another_fence(
        self, one: Taken, other: Taken, change: Change, write: Write, attempt: int
    ) -> None:
        """Do something with two runs under fences that were never given out."""
        attempt = min(one.sent(attempt), other.sent(attempt))
        fences = [[*map(change, run.fences)] for run in (one, other)]
        self.write_on_both(fences, write, attempt)

    def write_on_both(self, runs: Sequence[Sequence[Fence]], write: Write, attempt: int) -> None:
        """Settle, release or renew, each side by its own fences."""
        what, how = write
        answers: list[list[object]] = []
        for at, (storage, paper) in enumerate(self.sides):
            fences = [run[at] for run in runs]
            if what == "settle":
                settles = [Settle(fence, how, attempt) for fence in fences]
                paper.settled(settles, settled := self.runner.run(storage.settle(settles)))
                answers.append([*settled])
            elif what == "release":
                releases = [Release(fence, how, attempt) for fence in fences]
                paper.released(releases, released := self.runner.run(storage.release(releases)))
                answers.append([*released])
            else:
                renews = [Renew(fence, attempt) for fence in fences]
                paper.renewed(renews, how, renewed := self.runner.run(storage.renew(renews, how)))
                answers.append([*renewed])
        same(answers)

    @rule(seconds=SECONDS, then=st.sampled_from(["reap", "prune", "nothing"]))
    def let_time_pass(self, seconds: float, then: str) -> None:
        """Move the clock on, and clear up."""
        self.runner.run(self.clock.advance(seconds))
        if then == "reap":
            self.reap()
        elif then == "prune":
            self.prune()

    def reap(self) -> None:
        """Take all lost tasks."""
        answers = self.on_both(lambda _, storage: storage.reap(ALL))
        for side, each, records in zip(self.sides, answers, self.records(), strict=True):
            side.paper.reaped(each, records)
        same([sorted(each) for each in answers])

    def prune(self) -> None:
        """Prune until nothing is left to do."""
        for _ in range(3):
            self.on_both(lambda _, storage: storage.prune(ALL))
        assert self.on_both(lambda _, storage: storage.prune(ALL)) == [0, 0]
        for side in self.sides:
            side.paper.pruned()

    def choice_is_promised(self, queue: str, most: int) -> bool:
        """
        Tell whether a claim of a few must take the same on both sides.

        Which of several tasks that became due together are promoted first
        is not promised; nor is how many expired tasks a claim ends, so
        none must be left.
        """
        due = self.due(queue).values()
        return all(len(each) <= most or len(set(each)) == len(each) for each in due)

    def due(self, queue: str) -> Mapping[str, Sequence[datetime]]:
        """Answer by name since when tasks are due that may not have been promoted."""
        now, found = self.clock.now, defaultdict[str, list[datetime]](list)
        for record in self.records()[0].values():
            future = record.status in {Status.SCHEDULED, Status.RETRY} and record.queue == queue
            if future and record.due_at <= now:
                found[record.name].append(record.due_at)
        return found

    def some_unstarted(self) -> bool:
        """Tell whether a claim may find something, now or later."""
        pages = self.sides[0].paper.pages.values()
        return any(page.ended is None and page.fence is None for page in pages)

    @invariant()
    def both_have_the_same_tasks(self) -> None:
        """Compare all that there is to read."""
        for side, each in zip(self.sides, records := self.records(), strict=True):
            side.paper.read(each)
        same([{key: plain(record) for key, record in each.items()} for each in records])
        same(self.on_both(lambda _, storage: counted(storage)))


async def inserted(storage: Storage[Any], drafts: Sequence[Draft]) -> Sequence[Pushed] | None:
    """Push tasks; `None` if they are rejected."""
    try:
        return list(await storage.insert(drafts))
    except Conflict:
        return None


async def counted(storage: Storage[Any]) -> list[object]:
    """Count tasks and list names, by queue."""
    queues = ("default", "other")
    counts = [await storage.counts(queue) for queue in queues]
    return [counts, [sorted(await storage.names(queue)) for queue in queues]]


def without_claim_id(lease: Lease) -> Lease:
    """Answer what of a lease is the same on both sides."""
    return lease._replace(fence=lease.fence._replace(claim_id=b""))


def same(answers: Sequence[object]) -> None:
    """Fail if the backend does not answer as the model."""
    model, *others = answers
    for other in others:
        assert other == model


def plain(record: Record) -> dict[str, object]:
    """Answer a record's fields; how a store words its own failures is its own affair."""
    own = {"expired", "worker_lost"}
    errors = [each._replace(message="") if each.type in own else each for each in record.errors]
    return attrs.asdict(record, recurse=False) | {"errors": errors}


def lease_by(storage: Storage[Any], clock: Clock) -> None:
    """Have a storage that measures leases by a clock of its own measure them by *clock*."""
    if isinstance(storage, MemoryStorage):
        storage._clock = clock
    elif isinstance(storage, SqliteStorage):
        storage._clock = attrs.evolve(storage._clock, monotonic=clock)
