"""
The concurrency limiter against a queue on paper: random arrivals, ends and cancellations.

A schedule is a list of turns, one virtual second apart. What happens in one
turn happens at once: a place is given to a caller who leaves in that very
moment, a call comes as another ends.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import anyio
import attrs
import pytest
from anyio.abc import TaskGroup
from hypothesis import given, settings, strategies as some

from layered import ConcurrencyLimitLayer, Permits, Service
from layered.layers.concurrency import ConcurrencyLimit
from tests.conformance.strangers.wrong_layers import (
    ForgetfulOfTheCancelled,
    KeepsTheTurnOfTheCancelled,
    LastInFirstOut,
    LeaksOnErrors,
    ReservesInReady,
    SaysItsLimit,
    ServesAskersFirst,
    WakesOne,
)
from tests.layers.inner import Held
from tests.schedules.finding import finds_a_fault

pytestmark = pytest.mark.virtual_time

Limiter: TypeAlias = Callable[[int, Service[Any, Any]], Service[Any, Any]]


class Turn(NamedTuple):
    """What happens at once; callers are known by the number of their arrival."""

    comes: str
    """A caller who ``"calls"`` or only ``"asks"``; empty for nobody."""
    ends: set[int]
    """Calls that the inner service answers."""
    fails: set[int]
    """Calls to which it raises an error."""
    leaves: set[int]
    """Callers who are cancelled."""


class Plan(NamedTuple):
    """A turn before it is known who is there: callers are known by their places."""

    comes: str
    ends: set[int]
    fails: set[int]
    leaves: set[int]


class Schedule(NamedTuple):
    limit: int
    plans: Sequence[Plan]


PLACES = some.sets(some.integers(0, 5), max_size=2)
PLANS = some.builds(Plan, some.sampled_from(["calls", "calls", "asks", ""]), PLACES, PLACES, PLACES)
SCHEDULES = some.builds(Schedule, some.integers(1, 3), some.lists(PLANS, min_size=5, max_size=30))


@attrs.define
class Paper:
    """The limiter on paper: who has a place, who stands in line, who only asks."""

    limit: int
    inside: set[int] = attrs.field(factory=set)
    line: list[int] = attrs.field(factory=list)
    asking: set[int] = attrs.field(factory=set)
    started: dict[int, int] = attrs.field(factory=dict)
    """When each call began."""

    @property
    def free(self) -> int:
        return self.limit - len(self.inside)

    def meant(self, plan: Plan) -> Turn:
        """Tell who has the places of *plan*."""
        inside, present = sorted(self.inside), sorted(self.inside | {*self.line} | self.asking)
        ends, fails = ({inside[n] for n in one if n < len(inside)} for one in plan[1:3])
        return Turn(plan.comes, ends, fails, {present[n] for n in plan.leaves if n < len(present)})

    def turn(self, now: int, comer: int, turn: Turn) -> None:
        """Let those go who go, then those in who are next."""
        self.inside -= turn.ends | turn.fails | turn.leaves
        self.line = [one for one in self.line if one not in turn.leaves]
        self.asking -= turn.leaves
        if turn.comes == "calls":
            self.line.append(comer)
        elif turn.comes == "asks":
            self.asking.add(comer)
        while self.line and self.free:
            one = self.line.pop(0)
            self.inside.add(one)
            self.started[one] = now


class Limited:
    """The real limiter, and what its callers do."""

    def __init__(self, service: Service[int, None], inner: Held, group: TaskGroup) -> None:
        self.service = service
        self.inner = inner
        self.asking: set[int] = set()
        self.scopes: list[anyio.CancelScope] = []
        self._group = group

    def turn(self, turn: Turn) -> None:
        """Do what happens in one turn."""
        for one in (turn.ends | turn.fails) & set(self.inner.active):
            self.inner.finish(one, ValueError("failed") if one in turn.fails else None)
        for one in turn.leaves:
            self.scopes[one].cancel()
        if turn.comes:
            number = len(self.scopes)
            self.scopes.append(anyio.CancelScope())
            self._group.start_soon({"calls": self._call, "asks": self._ask}[turn.comes], number)

    async def _call(self, number: int) -> None:
        with self.scopes[number], suppress(ValueError):
            await self.service.call(number)

    async def _ask(self, number: int) -> None:
        self.asking.add(number)
        with self.scopes[number]:
            await self.service.ready()
        self.asking.remove(number)


class Clocked(Held):
    """Notes when each call began."""

    def __init__(self) -> None:
        super().__init__()
        self.started: dict[int, float] = {}

    async def call(self, request: int, /) -> None:
        self.started[request] = anyio.current_time()
        await super().call(request)


async def compare(make: Limiter, schedule: Schedule) -> None:
    """Play *schedule* with the limiter and on paper: the same calls begin in the same turns."""
    paper, inner, start = Paper(schedule.limit), Clocked(), anyio.current_time()
    async with anyio.create_task_group() as group:
        limited = Limited(make(schedule.limit, inner), inner, group)
        for now, plan in enumerate(schedule.plans):
            turn, comer = paper.meant(plan), len(limited.scopes)
            limited.turn(turn)
            paper.turn(now, comer, turn)
            await anyio.sleep(1)

            assert {one: at - start for one, at in inner.started.items()} == paper.started
            assert set(inner.active) == paper.inside
            assert limited.service.capacity() == paper.free
            if paper.free:
                assert limited.asking == set(), "a place is free and somebody waits in ready"
            elif turn.comes == "calls" and comer in paper.inside:
                assert limited.asking <= paper.asking  # a place was free for less than a turn
            else:
                assert limited.asking == paper.asking
            paper.asking = set(limited.asking)
        for scope in limited.scopes:  # one by one: a group cancels in no order
            scope.cancel()

    assert limited.service.capacity() == schedule.limit


def shipped(limit: int, inner: Service[Any, Any]) -> Service[Any, Any]:
    """Make the limiter as users do."""
    return ConcurrencyLimitLayer(limit).layer(inner)


@settings(max_examples=300)
@given(SCHEDULES)
async def test_concurrency_limit_serves_a_schedule_as_a_queue_on_paper(schedule: Schedule) -> None:
    """Who is served when, who waits, and the places left, after every turn."""
    await compare(shipped, schedule)


class GrantsTwice(Permits):
    """Frees the place although it was handed on."""

    def release(self) -> None:
        if self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()
        self.free += 1


def with_permits(permits: type[Permits]) -> Limiter:
    """Make a limiter of other permits."""
    return lambda limit, inner: ConcurrencyLimit(permits(limit), inner)


def with_service(service: type[ConcurrencyLimit[Any, Any]]) -> Limiter:
    """Make a limiter of another service."""
    return lambda limit, inner: service(Permits(limit), inner)


FAULTY: dict[str, Limiter] = {
    "forgetful of the cancelled": with_permits(ForgetfulOfTheCancelled),
    "keeps the turn of the cancelled": with_permits(KeepsTheTurnOfTheCancelled),
    "wakes one": with_permits(WakesOne),
    "last in, first out": with_permits(LastInFirstOut),
    "serves askers first": with_permits(ServesAskersFirst),
    "grants twice": with_permits(GrantsTwice),
    "leaks on errors": with_service(LeaksOnErrors),
    "says its limit": with_service(SaysItsLimit),
    "reserves in ready": with_service(ReservesInReady),
}


@pytest.mark.parametrize("limiter", FAULTY.values(), ids=FAULTY)
def test_schedules_find_a_faulty_limiter(limiter: Limiter) -> None:
    """One of some hundred schedules is served in another way than on paper."""
    assert finds_a_fault(SCHEDULES, partial(compare, limiter))
