"""What handlers did and what workers told, held against the ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio

from layered import Task
from layered.task import Fence, Lease
from layered.worker import BackendTroubled, StateChanged, TaskEnded, TaskReaped
from tests.simulation.calm import SLACK
from tests.simulation.jobs import Job

if TYPE_CHECKING:
    from tests.simulation.crew import Shiftwork
    from tests.simulation.world import World


@attrs.define(eq=False)
class Active:
    """A handler that runs."""

    shift: Shiftwork
    stood_still: float
    since: float
    excused: bool = False

    @property
    def may_be_late(self) -> bool:
        """Whether nobody can expect that it ended with its lease."""
        process = self.shift.process
        stood_still = process.frozen or process.stood_still > self.stood_still
        return self.excused or stood_still or process.severed


class Watch:
    """
    All runs of all handlers.

    Args:
        world: Has the ledger, and is told of each rule that was broken.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.active: dict[Fence, Active] = {}
        self._runs: Counter[str] = Counter()
        self._charged: dict[Fence, int] = {}
        self._begun: dict[Fence, float] = {}

    def begin(self, shift: Shiftwork, task: Task[Job]) -> int:
        """Note that a handler begins; answer how often it began for this task before."""
        lease = task.run.lease
        assert lease is not None
        fence = lease.fence
        self._check_attempt(lease, int(task.attempt))
        one = Active(shift, shift.link.leases[fence], trio.current_time())
        if not (one.may_be_late or self._world.ledger.holds(fence)):
            self._broken(f"{task.id} began in {shift.process.name} after its lease")
        self._begun.setdefault(fence, one.since)
        for other, running in self.active.items():
            if other.id == fence.id and not (running.may_be_late or one.may_be_late):
                self._broken(f"{task.id} runs twice, in {running.shift.process.name} as well")
        self.active[fence] = one
        mine = sum(each.shift is shift for each in self.active.values())
        if mine > shift.slot.concurrency:
            self._broken(f"{shift.process.name} runs {mine} handlers of {shift.slot.concurrency}")
        self._world.calm.look()
        self._runs[task.id] += 1
        return self._runs[task.id] - 1

    def _check_attempt(self, lease: Lease, attempt: int) -> None:
        """Check the ledger of a run: each one is charged before it begins, and none is too many."""
        before = self._charged.get(lease.fence)
        self._charged[lease.fence] = attempt
        if attempt != (lease.attempt if before is None else before + 1):
            self._broken(f"{lease.id}, claimed for run {lease.attempt}: {attempt} after {before}")
        if lease.max_attempts is not None and attempt > lease.max_attempts:
            self._broken(f"{lease.id} has run {attempt} of {lease.max_attempts}")
        if before is not None and attempt > (self._world.plan.retries or 1):
            self._broken(f"{lease.id} is retried for run {attempt} of {self._world.plan.retries}")

    def sends(self, fence: Fence, attempt: int) -> None:
        """Check that every run is told to the store, and at most one that has not begun."""
        charged = self._charged.get(fence)
        if charged is not None and attempt not in {charged, charged + 1}:
            self._broken(f"{fence.id} has begun run {charged}, the store is told of {attempt}")

    def end(self, shift: Shiftwork, task: Task[Job]) -> None:
        """Note that a handler ends."""
        lease = task.run.lease
        assert lease is not None
        one, now = self.active.pop(lease.fence), trio.current_time()
        for limit, since in (
            (shift.slot.timeout, one.since),
            (shift.slot.deadline, self._begun[lease.fence]),
        ):
            if limit is not None and now > since + limit + SLACK and not one.may_be_late:
                self._broken(f"{task.id} ran for {now - since:.3f} s of {limit}")
        self._world.note(shift.process.name, "ran", task.id)
        self._world.calm.look()

    def excuse(self, shift: Shiftwork, task: Task[Job]) -> None:
        """Note that a handler does not obey a cancellation at once."""
        lease = task.run.lease
        assert lease is not None
        self.active[lease.fence].excused = True

    def told(self, shift: Shiftwork, event: object) -> None:
        """Check that an event tells what the store has."""
        name, ledger = shift.process.name, self._world.ledger
        self._world.note(name, "event", *_shown(event))
        match event:
            case TaskEnded(task_id, _, attempt, status):
                told = name, task_id, attempt, status
                if not ledger.ends[told]:
                    self._broken(f"told of an end that the store does not have: {told}")
                ledger.ends[told] -= 1
            case TaskReaped(task_id, _, status):
                if not ledger.reaped[name, task_id, status]:
                    self._broken(f"told of reaping {task_id}, which it did not")
                ledger.reaped[name, task_id, status] -= 1
            case StateChanged():
                self._world.calm.look()
            case BackendTroubled("claim", _, delay):
                self._world.calm.excuse_until(trio.current_time() + delay * 1.2)

    def _broken(self, text: str) -> None:
        self._world.broken(text)


def _shown(event: object) -> tuple[object, ...]:
    if isinstance(event, TaskEnded):
        return "TaskEnded", event.task_id, event.attempt, event.status.label
    return (type(event).__name__, *attrs.astuple(event, recurse=False)[1:2])  # type: ignore[arg-type]
