"""Time limits against a calculation on paper: which of several ends a call, and how."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import anyio
import pytest
from hypothesis import given, settings, strategies as some

from layered import Elapsed, Middleware, Service, TimeoutLayer
from tests.schedules.finding import finds_a_fault

pytestmark = pytest.mark.virtual_time

NEVER = 1e9


class Schedule(NamedTuple):
    """Limits around a call, outermost first, and what happens in it. No two things at once."""

    limits: Sequence[int]
    seconds: float
    """How long the call takes, left alone."""
    fails: bool
    """Whether it ends with an error, left alone or by cancellation if it ends late."""
    cleans: float
    """Seconds that it takes to end once it is cancelled; 0 or more."""
    late: bool
    """Whether it ends then as if it had not been cancelled."""
    leaves: float
    """When the caller is cancelled."""


class Course(NamedTuple):
    """What came of it: ``"done"``, ``"fails"``, ``"cancelled"``, or the limit that passed."""

    how: str
    ended: float


SCHEDULES = some.builds(
    Schedule,
    some.lists(some.integers(1, 9), max_size=4),
    some.integers(0, 9).map(lambda second: second + 0.25),
    some.booleans(),
    some.just(0.0) | some.integers(0, 5).map(lambda second: second + 0.125),
    some.booleans(),
    some.just(NEVER) | some.integers(0, 9).map(lambda second: second + 0.5),
)


def on_paper(plan: Schedule) -> Course:
    """Calculate the course."""
    end = "fails" if plan.fails else "done"
    first = min(*plan.limits, plan.leaves, NEVER)
    if plan.seconds < first:
        return Course(end, plan.seconds)
    ended = first + plan.cleans
    if plan.late:
        return Course(end, ended)
    # Of all that have passed meanwhile, the outermost has the last word.
    passed = ["cancelled"] if plan.leaves <= ended else []
    passed += [f"limit of {limit}" for limit in plan.limits if limit <= ended]
    return Course(passed[0], ended)


class Busy(Service[Any, str]):
    """Does what the schedule says."""

    def __init__(self, plan: Schedule) -> None:
        self.plan = plan

    async def call(self, request: Any, /) -> str:
        try:
            await anyio.sleep(self.plan.seconds)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.plan.cleans)
            if not self.plan.late:
                raise
        if self.plan.fails:
            raise ValueError("failed")
        return "done"


Limiter: TypeAlias = Callable[[float, Service[Any, Any]], Service[Any, Any]]


def shipped(limit: float, inner: Service[Any, Any]) -> Service[Any, Any]:
    """Make the limit as users do."""
    return TimeoutLayer(limit).layer(inner)


async def compare(make: Limiter, plan: Schedule) -> None:
    """Play *plan* with the layers and on paper."""
    service: Service[Any, str] = Busy(plan)
    for limit in reversed(plan.limits):
        service = make(limit, service)
    start, how = anyio.current_time(), "cancelled"
    with anyio.move_on_at(start + plan.leaves):
        try:
            how = await service.call(None)
        except ValueError:
            how = "fails"
        except Elapsed as elapsed:
            how = f"limit of {elapsed.seconds:g}"

    assert Course(how, anyio.current_time() - start) == on_paper(plan)


@settings(max_examples=300)
@given(SCHEDULES)
async def test_timeouts_take_the_course_on_paper(plan: Schedule) -> None:
    """Which limit ends the call, or what ends it besides, and when."""
    await compare(shipped, plan)


class Faulty(Middleware[Any, Any]):
    """A time limit, to be spoiled."""

    def __init__(self, limit: float, inner: Service[Any, Any], /) -> None:
        super().__init__(inner)
        self.limit = limit


class Quiet(Faulty):
    """Answers nothing when the limit has passed."""

    async def call(self, request: Any, /) -> Any:
        with anyio.move_on_after(self.limit):
            return await self.inner.call(request)


class TakesAll(Faulty):
    """Takes every cancellation for its own."""

    async def call(self, request: Any, /) -> Any:
        with anyio.move_on_after(self.limit):
            try:
                return await self.inner.call(request)
            except anyio.get_cancelled_exc_class():
                raise Elapsed(self.limit) from None
        raise Elapsed(self.limit)


class Strict(Faulty):
    """Refuses what ended late."""

    async def call(self, request: Any, /) -> Any:
        with anyio.move_on_after(self.limit) as scope:
            result = await self.inner.call(request)
            if not scope.cancel_called:
                return result
        raise Elapsed(self.limit)


class Shields(Faulty):
    """Keeps other cancellations out."""

    async def call(self, request: Any, /) -> Any:
        with anyio.move_on_after(self.limit, shield=True):
            return await self.inner.call(request)
        raise Elapsed(self.limit)


class HasTheLastWord(Faulty):
    """Makes its own error of whatever comes once the limit has passed."""

    async def call(self, request: Any, /) -> Any:
        start = anyio.current_time()
        try:
            with anyio.move_on_after(self.limit):
                return await self.inner.call(request)
        finally:
            if anyio.current_time() - start >= self.limit:
                raise Elapsed(self.limit)


class Looks(Faulty):
    """Looks at the limit when the call has ended."""

    async def call(self, request: Any, /) -> Any:
        start = anyio.current_time()
        result = await self.inner.call(request)
        if anyio.current_time() - start >= self.limit:
            raise Elapsed(self.limit)
        return result


@pytest.mark.parametrize("limiter", [Quiet, TakesAll, Strict, Shields, HasTheLastWord, Looks])
def test_schedules_find_a_faulty_timeout(limiter: Limiter) -> None:
    """One of some hundred schedules takes another course than on paper."""
    assert finds_a_fault(SCHEDULES, partial(compare, limiter))
