"""Retries against a calculation on paper: random failures, waits, bounds and cancellations."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import given, settings, strategies as some
from tenacity import RetryCallState

from layered import Abort, RetryAfter, RetryLayer, Service, Snooze, Task
from layered.layers.retry.layer import _Series
from tests.layers.inner import claimed
from tests.schedules.finding import finds_a_fault

pytestmark = pytest.mark.virtual_time

MOST = 6
"""Runs that a policy allows at most."""


class Act(NamedTuple):
    """One run of the inner service."""

    seconds: int
    end: str
    """``"done"``, ``"fails"``, ``"aborts"``, ``"snoozes"`` or ``"asks for 2"`` seconds."""


class Schedule(NamedTuple):
    """What the inner service does, what the policy says, and when the caller goes away."""

    acts: Sequence[Act]
    waits: Sequence[int]
    """Seconds after each run of the task, those of earlier deliveries included."""
    stop: int
    hold: int
    attempt: int
    """The number of the first run; 0 for a request that is no claimed task."""
    max_attempts: int | None
    leaves: float
    """When the caller is cancelled; never in the same moment as anything else."""


class Course(NamedTuple):
    """What came of it."""

    started: Sequence[float]
    """When each run began."""
    ended: float
    how: str
    attempt: int
    """What the task counts in the end."""


WAITS = {f"asks for {delay}": delay for delay in (0, 2, 5)}
ENDS = ["fails", "fails", "fails", *WAITS, "done", "aborts", "snoozes"]
NEVER = 1e9
SCHEDULES = some.builds(
    Schedule,
    some.lists(
        some.builds(Act, some.integers(0, 4), some.sampled_from(ENDS)),
        min_size=MOST,
        max_size=MOST,
    ),
    some.lists(some.integers(0, 4), min_size=2 * MOST, max_size=2 * MOST),
    stop=some.integers(1, MOST),
    hold=some.sampled_from([0, 2, 100]),
    attempt=some.sampled_from([0, 1, 1, 3]),
    max_attempts=some.none() | some.integers(3, MOST),
    leaves=some.just(NEVER) | some.integers(0, 20).map(lambda second: second + 0.5),
)


def on_paper(plan: Schedule) -> Course:
    """Calculate the course."""
    now, number, attempt = 0, plan.attempt or 1, plan.attempt
    most = min(plan.stop, plan.max_attempts or MOST) if plan.attempt else plan.stop
    started: list[float] = []
    for seconds, end in plan.acts:
        started.append(now)
        now += seconds
        if plan.leaves < now:
            return Course(started, plan.leaves, "cancelled", attempt)
        if end not in {"fails", *WAITS}:
            return Course(started, now, end, attempt)
        if number >= most:
            return Course(started, now, "fails" if end == "fails" else "aborts", attempt)
        delay = WAITS.get(end, plan.waits[number - 1])
        if attempt and delay > plan.hold:
            return Course(started, now, f"asks for {delay}", attempt)
        number, now = number + 1, now + delay
        attempt += bool(attempt)
        if plan.leaves < now:
            return Course(started, plan.leaves, "cancelled", attempt)
    raise AssertionError("a policy allows no more than that")


class Acting(Service[Any, str]):
    """Does one act after the other."""

    def __init__(self, acts: Sequence[Act]) -> None:
        self.acts = iter(acts)
        self.started: list[float] = []

    async def call(self, request: Any, /) -> str:
        self.started.append(anyio.current_time())
        seconds, end = next(self.acts)
        await anyio.sleep(seconds)
        match end:
            case "fails":
                raise ValueError("failed")
            case "aborts":
                raise Abort
            case "snoozes":
                raise Snooze(1)
            case "done":
                return end
        raise RetryAfter(WAITS[end])


async def play(plan: Schedule) -> Course:
    """Have the layer do it."""

    def wait(state: RetryCallState) -> float:
        return plan.waits[state.attempt_number - 1]

    inner, start = Acting(plan.acts), anyio.current_time()
    request: Any = (
        claimed(attempt=plan.attempt, max_attempts=plan.max_attempts) if plan.attempt else object()
    )
    service = RetryLayer(plan.stop, wait=wait, hold=plan.hold).layer(inner)
    how = "cancelled"
    with anyio.move_on_at(start + plan.leaves):
        try:
            how = await service.call(request)
        except ValueError:
            how = "fails"
        except Abort:
            how = "aborts"
        except Snooze:
            how = "snoozes"
        except RetryAfter as asked:
            how = f"asks for {asked.delay:g}"
    return Course(
        [at - start for at in inner.started],
        anyio.current_time() - start,
        how,
        request.attempt if isinstance(request, Task) else 0,
    )


async def compare(plan: Schedule) -> None:
    """Play *plan* with the layer and on paper."""
    assert await play(plan) == on_paper(plan)


@settings(max_examples=300)
@given(SCHEDULES)
async def test_retry_takes_the_course_on_paper(plan: Schedule) -> None:
    """When each run begins, when and how all ends, and what the task counts."""
    await compare(plan)


BOUND = _Series._bound
WAIT = _Series._wait
RUNS_AGAIN = _Series.runs_again_after


def run_once_too_often(series: _Series) -> str | None:
    """Allow one run more than the bound."""
    series._state.attempt_number -= 1
    bound = BOUND(series)
    series._state.attempt_number += 1
    return bound


def run_once_too_little(series: _Series) -> str | None:
    """Allow one run less than the bound."""
    series._state.attempt_number += 1
    bound = BOUND(series)
    series._state.attempt_number -= 1
    return bound


def ignore_max_attempts(series: _Series) -> str | None:
    """Go by the policy alone."""
    return "its RetryLayer" if series._policy.stop(series._state) else None


def never_hold(series: _Series, delay: float) -> bool:
    """Give every task back that is to wait."""
    return series._run is not None and delay > 0


def always_hold(series: _Series, delay: float) -> bool:
    """Keep a task however long it is to wait."""
    return False


def give_back_what_is_no_task(series: _Series, delay: float) -> bool:
    """Ask for a later run where nobody can run it."""
    return delay > series._policy.hold


def wait_the_first_wait(series: _Series) -> float:
    """Count no runs for the wait."""
    number, series._state.attempt_number = series._state.attempt_number, 1
    wait = WAIT(series)
    series._state.attempt_number = number
    return wait


def retry_what_is_over(series: _Series, error: Exception) -> bool:
    """Take an `Abort` for a failure."""
    return RUNS_AGAIN(series, ValueError() if isinstance(error, Abort) else error)


async def charge_after_the_wait(series: _Series) -> None:
    """Count a run when it begins, so that a drain gives back the wrong one."""
    series._state.prepare_for_next_attempt()
    await anyio.sleep(series._state.upcoming_sleep)
    if series._run is not None:
        series._run.attempt += 1


async def go_on_when_cancelled(series: _Series) -> None:
    """Run again although the caller went away in the wait."""
    series._state.prepare_for_next_attempt()
    if series._run is not None:
        series._run.attempt += 1
    with suppress(anyio.get_cancelled_exc_class()):
        await anyio.sleep(series._state.upcoming_sleep)


async def forget_the_wait(series: _Series) -> None:
    """Run again at once."""
    series._state.prepare_for_next_attempt()
    if series._run is not None:
        series._run.attempt += 1


FAULTS: list[tuple[str, Callable[..., object]]] = [
    ("_bound", run_once_too_often),
    ("_bound", run_once_too_little),
    ("_bound", ignore_max_attempts),
    ("_is_long", never_hold),
    ("_is_long", always_hold),
    ("_is_long", give_back_what_is_no_task),
    ("_wait", wait_the_first_wait),
    ("runs_again_after", retry_what_is_over),
    ("rest", charge_after_the_wait),
    ("rest", go_on_when_cancelled),
    ("rest", forget_the_wait),
]


@pytest.mark.parametrize(("method", "fault"), FAULTS, ids=lambda one: getattr(one, "__name__", ""))
def test_schedules_find_a_faulty_retry(
    method: str, fault: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of some hundred schedules takes another course than on paper."""
    monkeypatch.setattr(_Series, method, fault)

    assert finds_a_fault(SCHEDULES, compare)
