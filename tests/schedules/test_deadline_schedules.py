"""The worker's deadline against a calculation on paper: when tasks begin, and how they end."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import anyio
import attrs
import pytest
from hypothesis import given, settings, strategies as some
from tenacity import wait_fixed

from layered import CancelReason, MemoryStorage, RetryLayer, Status, WorkerBuilder
from layered.task import NEVER, Run
from layered.worker import TaskEnded, ticker
from layered.worker.ticker import RESOLUTION, Ticker
from tests.schedules.finding import finds_a_fault

pytestmark = pytest.mark.virtual_time

RUNS = 3
"""The most that a task has in one claim, a second apart."""


@attrs.frozen
class Deed:
    """A task, and what its handler does. Nothing ends at a deadline: they lie on a quarter."""

    seconds: float
    """How long each run takes, left alone."""
    failures: int
    """Runs that fail before one succeeds."""
    cleans: float
    """Seconds that it takes to end once it is cancelled."""
    late: str
    """What it ends with then: ``"cancelled"``, or in spite of it ``"done"`` or ``"fails"``."""


class Schedule(NamedTuple):
    at_once: int
    deadline: float
    deeds: Sequence[Deed]


class Course(NamedTuple):
    """What came of one task, by its number."""

    status: Status
    started: float
    ended: float


PAUSE = 1
"""Seconds between the runs of one claim."""

DEEDS = some.builds(
    Deed,
    some.integers(0, 5).map(lambda second: second + 0.5),
    some.integers(0, RUNS - 1),
    some.sampled_from([0.0, 0.0, 1.0, 3.0]),
    some.sampled_from(["cancelled", "done", "fails"]),
)
SCHEDULES = some.builds(
    Schedule,
    some.integers(1, 3),
    some.integers(0, 6).map(lambda second: second + 0.25),
    some.lists(DEEDS, min_size=1, max_size=6),
)


def on_paper(plan: Schedule) -> list[Course]:
    """Calculate the courses: each task takes the first of the places that comes free."""
    places = [0.0] * plan.at_once
    courses = []
    for deed in plan.deeds:
        started = heapq.heappop(places)
        status, seconds = end_of(deed, plan.deadline)
        courses.append(Course(status, started, started + seconds))
        heapq.heappush(places, started + seconds)
    return courses


def end_of(deed: Deed, deadline: float) -> tuple[Status, float]:
    """Calculate how a task ends, and how many seconds after its start."""
    alone = deed.seconds + deed.failures * (PAUSE + deed.seconds)
    if alone < deadline:
        return Status.DONE, alone
    if deadline % (deed.seconds + PAUSE) > deed.seconds:
        return Status.DEAD, deadline  # it comes between two runs
    return Status.DONE if deed.late == "done" else Status.DEAD, deadline + deed.cleans


class Office:
    """Does the deeds, and notes when."""

    def __init__(self, deeds: Sequence[Deed]) -> None:
        self.deeds = deeds
        self.left = [deed.failures for deed in deeds]
        self.started: dict[int, float] = {}
        self.ended: dict[str, TaskEnded] = {}

    async def note(self, event: object) -> None:
        """Take what the worker tells."""
        if isinstance(event, TaskEnded):
            self.ended[event.task_id] = event

    async def handle(self, number: int) -> str:
        """Do one of the runs of a deed."""
        deed = self.deeds[number]
        self.started.setdefault(number, anyio.current_time())
        end = "fails" if self.left[number] else "done"
        self.left[number] -= 1
        try:
            await anyio.sleep(deed.seconds)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(deed.cleans)
            if deed.late == "cancelled":
                raise
            end = deed.late
        if end == "fails":
            raise ValueError("failed")
        return end


async def play(plan: Schedule) -> list[Course]:
    """Have a worker do it."""
    office, start = Office(plan.deeds), anyio.current_time()
    storage = MemoryStorage(int)
    pushed = [await storage.push(number) for number in range(len(plan.deeds))]
    worker = (
        WorkerBuilder("office")
        .backend(storage)
        .on_event(office.note)
        .configure(concurrency=plan.at_once)
        .deadline(plan.deadline)
        .layer(RetryLayer(RUNS, wait=wait_fixed(PAUSE), hold=PAUSE))
        .build(office.handle)
    )
    await worker.run(burst=True)
    courses = []
    for number, task in enumerate(pushed):
        event, started = office.ended[task.id], office.started[number] - start
        courses.append(Course(event.status, started, started + event.seconds))
    return courses


async def compare(plan: Schedule) -> None:
    """Play *plan* with a worker and on paper: each deadline may be noticed a little late."""
    found, wanted, late = await play(plan), on_paper(plan), RESOLUTION * len(plan.deeds) + 1e-6

    assert [course.status for course in found] == [course.status for course in wanted]
    for course, paper in zip(found, wanted, strict=True):
        assert -1e-6 <= course.started - paper.started <= late
        assert -1e-6 <= course.ended - paper.ended <= late


@settings(max_examples=150)
@given(SCHEDULES)
async def test_deadlines_take_the_course_on_paper(plan: Schedule) -> None:
    """When each task begins, whether it ends in time, and when it ends if it does not."""
    await compare(plan)


REMAINING, CANCEL = Ticker._remaining, Run.cancel


def sleep_too_long(watch: Ticker) -> float:
    """Let a task that begins meanwhile wait for the next look."""
    REMAINING(watch)
    return NEVER


def look_ahead(watch: Ticker) -> float:
    """Cancel a second early."""
    for run in watch._flight.snapshot():
        if run.deadline <= watch._clock() + 1:
            run.cancel(CancelReason.DEADLINE)
    return REMAINING(watch)


def let_it_run(run: Run, reason: CancelReason) -> bool:
    """Cancel for other reasons only."""
    return reason is not CancelReason.DEADLINE and CANCEL(run, reason)


FAULTS: list[tuple[object, str, object]] = [
    (ticker, "RESOLUTION", 1.0),
    (Ticker, "_remaining", sleep_too_long),
    (Ticker, "_remaining", look_ahead),
    (Run, "cancel", let_it_run),
]


@pytest.mark.parametrize(("where", "name", "fault"), FAULTS)
def test_schedules_find_a_faulty_deadline(
    where: object, name: str, fault: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of some hundred schedules takes another course than on paper."""
    monkeypatch.setattr(where, name, fault)

    assert finds_a_fault(SCHEDULES, compare)
