"""
Random operations on each backend, beside the memory backend and beside paper.

The memory backend is the model: the same operations at the same times must
give the same answers and leave the same tasks. What both get wrong, the
paper finds: see `tests.conformance.paper`.

``--hypothesis-profile=long`` plays many more.
"""

from collections.abc import Mapping

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from layered.backend import Answer, Change, Claimant, Claimed, Reaped, Release, Renew, Renewal
from layered.backends.memory import book
from layered.backends.memory.book import Book
from layered.backends.memory.rows import Row
from layered.backends.sqlite import lease
from layered.task import Fence
from tests.conformance import postgres
from tests.conformance.controlled import ControlledMachine
from tests.conformance.machine import Machine
from tests.conformance.storages import BACKENDS

MANY = settings(max_examples=settings().max_examples // 2, stateful_step_count=40)
"""Half of what the profile says: each example has as many steps, on two backends."""


class NoChance:
    """Stands for `random`: a delay by chance is no model's."""

    randrange = staticmethod(lambda _: 0)
    uniform = staticmethod(lambda low, _: low)


NO_CHANCE = """
create function {schema}.random() returns double precision stable language sql as 'select 0::float';
"""
"""The same, found by PostgreSQL in place of its own."""


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have reaped tasks come back at once."""
    for module in (book, lease):
        monkeypatch.setattr(module, "random", NoChance)
    monkeypatch.setattr(postgres, "CLOCK", postgres.CLOCK + NO_CHANCE)


def play(machine: type[Machine], backend: str, how: settings) -> None:
    """Run a machine on a backend."""
    run_state_machine_as_test(type("Machine", (machine,), {"name": backend}), settings=how)


@pytest.mark.timeout(0)  # as long as the profile says
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "memory"])
def test_backend_does_what_memory_and_paper_say(backend: str) -> None:
    """Whatever is done, in any order, at any time: the same answers and the same tasks."""
    play(ControlledMachine, backend, MANY)


class FencedByState(Book):
    """Takes a write from anybody while the task runs."""

    def _fenced(self, fence: Fence) -> Row | None:
        return self._running.get(fence.id)


class EpochGivenBack(Book):
    """Counts a run that was released as never begun."""

    def release(self, item: Release, now: int) -> Answer:
        if row := self._fenced(item.fence):
            row.epoch -= 1
            item = item._replace(fence=item.fence._replace(epoch=row.epoch))
        return super().release(item, now)


class ClaimsEarly(Book):
    """Claims what is due within a second."""

    def claim(
        self, claimant: Claimant, wanted: Mapping[str, int], most: int, now: int, mono: float
    ) -> Claimed:
        return super().claim(claimant, wanted, most, now + 1_000_000, mono)


class ReapsTheLiving(Book):
    """Takes tasks from workers a minute before their leases end."""

    def reap(self, limit: int, now: int, mono: float) -> list[Reaped]:
        return super().reap(limit, now, mono + 60.0)


class LeavesDone(Book):
    """Lets a run end that has ended before."""

    def _fenced(self, fence: Fence) -> Row | None:
        row = self.rows.get(fence.id)
        return row if row and (row.epoch, row.claim_id) == fence[1:] else None


class AlreadyForStale(Book):
    """Takes another ending of the same run for a repetition."""

    def _refused(self, fence: Fence, operation: str) -> Answer:
        row = self.rows.get(fence.id)
        return super()._refused(fence, row.settled[1] if row and row.settled else operation)


class ForgetsCancels(Book):
    """Asks nobody to stop."""

    def renew(self, item: Renew, lease: float, mono: float) -> Renewal:
        answer = super().renew(item, lease, mono)
        return Renewal.OK if answer is Renewal.CANCEL else answer


class RequeuesAnything(Book):
    """Requeues a task whose key another one holds."""

    def _requeue(self, task_id: str, now: int) -> Change:
        if row := self.rows.get(task_id):
            self.keys.drop(row)
            self.keys.take(row, now)
        return super()._requeue(task_id, now)


class ClaimsPaused(Book):
    """Claims of a paused queue, seconds before the pause is over."""

    def claim(
        self, claimant: Claimant, wanted: Mapping[str, int], most: int, now: int, mono: float
    ) -> Claimed:
        if 0 < self.pauses.left(claimant.queue, now) <= 5.0:
            self.pauses.resume(claimant.queue)
        return super().claim(claimant, wanted, most, now, mono)


class LastCheckpointWins(Book):
    """Stores whatever a step gave last."""

    def checkpoint(self, fence: Fence, step: str, value: bytes) -> bytes | None:
        if row := self._fenced(fence):
            (row.steps or {}).pop(step, None)
        return super().checkpoint(fence, step, value)


class FreesKeysEarly(Book):
    """Frees a key at the end of its task, whatever its window."""

    def _add(self, row: Row, now: int) -> None:
        super()._add(row, now)
        self.keys.take(row, now)


def found(wrong: type[Book], machine: type[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail unless a machine that has a wrong book on both sides finds that it is wrong."""
    monkeypatch.setattr("layered.backends.memory.storage.Book", wrong)
    same_each_time = settings(MANY, derandomize=True, phases=[Phase.generate], database=None)

    with pytest.raises((AssertionError, KeyError)):
        play(machine, "memory", same_each_time)


@pytest.mark.parametrize(
    "wrong",
    [FencedByState, EpochGivenBack, ClaimsEarly, ReapsTheLiving, LeavesDone, AlreadyForStale],
    ids=lambda wrong: wrong.__name__,
)
def test_paper_finds_a_fault_that_both_sides_share(
    wrong: type[Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comparing memory with memory finds nothing: what is found, the paper found."""
    found(wrong, Machine, monkeypatch)


@pytest.mark.parametrize(
    "wrong",
    [ForgetsCancels, RequeuesAnything, ClaimsPaused, LastCheckpointWins, FreesKeysEarly],
    ids=lambda wrong: wrong.__name__,
)
def test_paper_finds_a_fault_of_control_that_both_sides_share(
    wrong: type[Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, of what users do from outside."""
    found(wrong, ControlledMachine, monkeypatch)
