"""`ControlledMachine`: what users do to a backend from outside, in between what workers do."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import consumes, precondition, rule

from layered.backend import Filter, Queue, Record, Storage, Summary
from layered.task import Status
from layered.testing.conformance.backend.store import Controls
from tests.conformance.machine import (
    ATTEMPTS,
    INSTANTS,
    KEYS,
    QUEUES,
    WRITES,
    Machine,
    Taken,
    Write,
    same,
    seldom,
)

WHICH = st.lists(st.integers(0, 9), min_size=1, max_size=4)
"""Numbers of tasks, in the order of their pushing; the first again after the last."""
STEPS = st.sampled_from([None, "one", "two"])
PAUSES = st.sampled_from([0.0, 0.0, 1.0, 5.0, None])
VALUES = st.sampled_from([b"", b"1", b"\x00"])
FILTERS = st.builds(
    Filter,
    queue=seldom(None, ["default", "other"]),
    names=seldom((), [["a"], ["b", "c"]]),
    statuses=seldom((), [[Status.READY], [Status.DEAD, Status.CANCELLED]]),
    since=seldom(None, INSTANTS),
    until=seldom(None, INSTANTS),
    error=seldom(None, ["ValueError", "worker_lost"]),
)


class View(NamedTuple):
    """What there is to know of a backend besides its tasks."""

    queues: Sequence[Queue]
    holders: Mapping[tuple[str, str], str | None]
    steps: Mapping[str, Mapping[str, bytes]]


class ControlledMachine(Machine):
    """Does what workers do, and what users do to them."""

    @rule(which=WHICH)
    def cancel(self, which: list[int]) -> None:
        """Cancel tasks, in any state or gone; perhaps one of them twice."""
        self.cancel_on_both(chosen([*self.ids], which))

    @rule(run=consumes(Machine.fresh), write=WRITES, attempt=ATTEMPTS)
    def cancel_run(self, run: Taken, write: Write, attempt: int) -> None:
        """Cancel a task that runs, perhaps, and do something with its run."""
        self.cancel_on_both([run.fences[0].id])
        self.write_on_both([run.fences], write, run.sent(attempt))

    def cancel_on_both(self, ids: Sequence[str]) -> None:
        """Cancel tasks."""
        answers = self.on_both(lambda _, storage: able(storage).cancel(ids))
        for side, each in zip(self.sides, answers, strict=True):
            side.paper.cancelled(ids, each)
        same([list(each) for each in answers])

    @rule(which=WHICH)
    def requeue(self, which: list[int]) -> None:
        """Requeue tasks that may be, or any, if there is none; perhaps one of them twice."""
        pages = self.sides[0].paper.pages.items()
        may_be = [id_ for id_, page in pages if page.ended in {Status.DEAD, Status.CANCELLED}]
        ids = chosen(may_be or [*self.ids], which)
        answers = self.on_both(lambda _, storage: able(storage).requeue(ids))
        for side, each in zip(self.sides, answers, strict=True):
            side.paper.requeued(ids, each)
        same([list(each) for each in answers])

    @precondition(lambda self: self.some_taken)
    @rule(run=Machine.taken, step=STEPS, value=VALUES)
    def note(self, run: Taken, step: str | None, value: bytes) -> None:
        """Store the value of a step of a run, under way or not, or its progress."""
        answers: list[object] = []
        for (storage, paper), fence in zip(self.sides, run.fences, strict=True):
            if step is None:
                stored = self.runner.run(able(storage).progress(fence, value))
                paper.progressed(fence, value, stored=stored)
                answers.append(stored)
            else:
                first = self.runner.run(able(storage).checkpoint(fence, step, value))
                paper.kept(fence, step, value, first)
                answers.append(first)
        same(answers)

    @rule(queue=QUEUES, seconds=PAUSES)
    def pause(self, queue: str, seconds: float | None) -> None:
        """Pause a queue, or, for no time at all, resume it."""
        until = None if seconds is None else self.clock.now + timedelta(seconds=seconds)
        for storage, paper in self.sides:
            if seconds == 0.0:
                self.runner.run(able(storage).resume(queue))
                paper.resumed(queue)
            else:
                self.runner.run(able(storage).pause(queue, until))
                paper.paused(queue, until)

    @rule(wanted=FILTERS, limit=st.integers(1, 4))
    def look(self, wanted: Filter, limit: int) -> None:
        """List tasks, and look at all that there is besides them."""
        listed = self.on_both(lambda _, storage: walk(storage, wanted, limit))
        for tasks, records in zip(listed, self.records(), strict=True):
            fitting = [id_ for id_, record in records.items() if fits(record, wanted)]
            assert [task.id for task in tasks] == sorted(fitting, reverse=True)
            for task in tasks:
                read = attrs.asdict(records[task.id], recurse=False)
                assert attrs.asdict(task, recurse=False).items() <= read.items()
        views = self.on_both(lambda _, storage: view(storage, [*self.ids]))
        for side, each in zip(self.sides, views, strict=True):
            side.paper.shown(*each)
        same(views)


def chosen(ids: Sequence[str], which: Sequence[int]) -> Sequence[str]:
    """Choose tasks by number."""
    return [ids[number % len(ids)] for number in which]


def able(storage: Storage[Any]) -> Controls:
    """Answer a storage as one that can do everything."""
    return cast("Controls", storage)


async def walk(storage: Storage[Any], wanted: Filter, limit: int) -> list[Summary]:
    """List tasks, by pages of *limit*."""
    page = await able(storage).page(wanted, None, limit)
    found = [*page.tasks]
    while page.after is not None:
        page = await able(storage).page(wanted, page.after, limit)
        assert len(page.tasks) <= limit
        found += page.tasks
    return found


async def view(storage: Storage[Any], ids: Sequence[str]) -> View:
    """Look at all that there is besides tasks."""
    keys = [(queue, key) for queue in ("default", "other") for key in KEYS]
    return View(
        list(await able(storage).queues()),
        {key: await able(storage).holder(*key) for key in keys},
        {id_: dict(await able(storage).checkpoints(id_)) for id_ in ids},
    )


def fits(record: Record, wanted: Filter) -> bool:
    """Tell whether a filter lets a task through."""
    return (
        wanted.queue in {None, record.queue}
        and (not wanted.names or record.name in wanted.names)
        and (not wanted.statuses or record.status in wanted.statuses)
        and (wanted.since is None or wanted.since <= record.created_at)
        and (wanted.until is None or record.created_at < wanted.until)
        and (wanted.error is None or [wanted.error] == [one.type for one in record.errors[-1:]])
    )
