"""`Router`: dispatch, and back-pressure per branch."""

import sys
from typing import Any

import anyio
import pytest

from layered import Service
from layered.extractors import Attempt
from layered.handler import Router
from layered.service.layer import is_service
from layered.task import Kind, Task
from tests.handler.parts import Email, Sms, compiled, make_task


async def send_email(email: Email, attempt: Attempt) -> object:
    """Answer what it got."""
    return "email", email.to, attempt


def send_sms(sms: Sms) -> object:
    """Answer what it got, from a thread."""
    return "sms", sms.number


class Place(Service[Task[Any], str]):
    """A service with room as the test says."""

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.free = anyio.Event()
        self.waiting = 0
        self.error: Exception | None = None

    async def call(self, request: Task[Any], /) -> str:
        return request.name

    async def ready(self) -> None:
        self.waiting += 1
        try:
            await self.free.wait()
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error

    def capacity(self) -> int:
        return self.room


def routed(email: Place, sms: Place) -> Any:
    """Compile a router of two services."""
    return compiled(Router().route(Email, email).route(Sms, sms), args=Email | Sms)


async def test_router_dispatches_by_the_type_of_the_arguments() -> None:
    """Each type has a handler of its own, with its own extractors."""
    handler = compiled(Router().route(Email, send_email).route(Sms, send_sms), args=Email | Sms)

    assert handler.names == ["Email", "Sms"]
    assert is_service(handler.service)
    assert await handler.service.call(make_task(Email("ada"))) == ("email", "ada", 1)
    assert await handler.service.call(make_task(Sms("123"))) == ("sms", "123")


async def test_route_takes_a_union() -> None:
    """One handler for several types."""

    async def both(args: Email | Sms) -> str:
        return type(args).__name__

    handler = compiled(Router().route(Email | Sms, both), args=Email | Sms)

    assert sorted(handler.names) == ["Email", "Sms"]
    assert await handler.service.call(make_task(Sms("1"))) == "Sms"


async def test_route_finds_a_renamed_type() -> None:
    """By its type; the task's own name is the storage's business."""
    problems_free = compiled(Router().route(Email, send_email), args=Kind(Email, name="mail"))

    assert problems_free.names == ["mail"]


def test_router_is_immutable() -> None:
    """`route` answers a new one."""
    empty = Router()

    one = empty.route(Email, send_email)

    assert (empty.routes, len(one.routes)) == ((), 1)
    assert repr(one.route(Sms, send_sms)) == "Router().route(Email, ...).route(Sms, ...)"


def test_capacities_are_told_per_task_name() -> None:
    """So that a full branch bounds the claim of its own tasks only."""
    handler = routed(Place(0), Place(3))

    assert handler.capacities() == {"Email": 0, "Sms": 3}


@pytest.mark.parametrize(
    ("rooms", "capacity"),
    [((0, 0), 0), ((0, 3), 3), ((2, 3), 5), ((-1, 3), 3), ((sys.maxsize, 3), sys.maxsize)],
    ids=str,
)
def test_capacity_is_that_of_all_branches(rooms: tuple[int, int], capacity: int) -> None:
    """More than 0 if any branch has room, and never beyond the most there is."""
    assert routed(Place(rooms[0]), Place(rooms[1])).service.capacity() == capacity


def test_branch_for_two_names_is_counted_once() -> None:
    """Its room is one room."""
    place = Place(3)
    router = Router().route(Email, place)
    kinds = (Kind(Email, name="new"), Kind(Email, name="old"))

    handler = compiled(router, args=kinds)

    assert handler.service.capacity() == 3
    assert handler.capacities() == {"new": 3, "old": 3}


async def test_router_is_ready_at_once_when_one_branch_has_room() -> None:
    """A full branch holds up no other."""
    full, free = Place(0), Place(1)

    await routed(full, free).service.ready()

    assert (full.waiting, free.waiting) == (0, 0)


async def test_router_waits_for_the_first_branch_that_gets_ready() -> None:
    """And gives up waiting for the others."""
    email, sms = Place(), Place()
    handler = routed(email, sms)
    done = anyio.Event()

    async def wait() -> None:
        await handler.service.ready()
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        waiting = (email.waiting, sms.waiting, done.is_set())
        sms.free.set()

    assert waiting == (1, 1, False)
    assert (email.waiting, sms.waiting) == (0, 0)


async def test_error_of_a_branch_that_waits_is_raised_as_it_is() -> None:
    """Not inside a group."""
    email, sms = Place(), Place()
    sms.error = ValueError("mine")
    sms.free.set()

    with pytest.raises(ValueError, match="mine") as caught:
        await routed(email, sms).service.ready()

    assert caught.value is sms.error


async def test_waiting_for_a_router_can_be_cancelled() -> None:
    """At no cost."""
    email, sms = Place(), Place()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(routed(email, sms).service.ready)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert (email.waiting, sms.waiting) == (0, 0)


def test_router_shows_its_branches() -> None:
    """As `explain` prints it."""
    handler = compiled(Router().route(Email, send_email).route(Sms, send_sms), args=Email | Sms)

    lines = [each.__code__.co_firstlineno for each in (send_email, send_sms)]
    assert handler.description == (
        f"Router(send_email (test_router.py:{lines[0]}), send_sms (test_router.py:{lines[1]}))"
    )
