"""
A service of the layer that is checked, around an inner service that does as it is told.

Nothing here measures time. That a call waits is seen from its not having
begun after `TURNS` turns of the event loop; what a layer may need time for,
such as a limit by time, has `PATIENCE`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextvars import ContextVar
from itertools import count
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from layered.service import Service
from layered.testing.conformance.layer.subject import LayerSubject
from layered.testing.conformance.rule import RuleBroken, equal, true

TURNS = 50
"""Turns of the event loop in which whatever can start has started."""

PATIENCE = 10.0
"""Seconds in which what a layer promises for later must have come."""

MANY = 100
"""A capacity from here on counts as unlimited."""


class Call:
    """One call from outside, or one look whether the service is ready, and what came of it."""

    def __init__(self, service: Service[object, object], request: object, number: int) -> None:
        self.number = number
        """0 for the first of its trial."""
        self.request = request
        self.response = object()
        """What the inner service will answer."""
        self.go = anyio.Event()
        """Lets it go, where the inner service holds it."""
        self.steps = 0
        """Turns that it takes in the inner service."""
        self.scope = anyio.CancelScope()
        self.received: list[object] = []
        """The requests by which it reached the inner service."""
        self.interrupted = False
        """Whether it was cancelled in the inner service."""
        self.asked = False
        """Whether `ready` has returned."""
        self.answer: object = None
        self.error: Exception | None = None
        self.ended = False
        self._service = service

    @property
    def started(self) -> bool:
        """Whether it reached the inner service."""
        return bool(self.received)

    def moved(self) -> bool:
        """Tell whether it waits no more for its turn."""
        return self.started or self.ended

    @property
    def cancelled(self) -> bool:
        """Whether it ended by a cancellation."""
        return self.scope.cancelled_caught

    async def run(self) -> None:
        """Make the call."""
        await self._do(self._call)

    async def ask(self) -> None:
        """Ask whether the service is ready."""
        await self._do(self._ask)

    async def ask_and_run(self) -> None:
        """Ask, and then make the call."""
        await self._do(self._ask, self._call)

    async def _do(self, *deeds: Callable[[], Awaitable[None]]) -> None:
        with self.scope:
            try:
                for deed in deeds:
                    await deed()
            except Exception as error:  # noqa: BLE001 - what is raised is what rules look at
                self.error = error
        self.ended = True

    async def _ask(self) -> None:
        await self._service.ready()
        self.asked = True

    async def _call(self) -> None:
        token = CURRENT.set(self)
        try:
            self.answer = await self._service.call(self.request)
        finally:
            CURRENT.reset(token)

    def answered(self, when: str = "") -> None:
        """Fail if it has not been answered, with its own response."""
        if self.error is not None:
            msg = f"a call{when} raised {self.error!r}"
            raise RuleBroken(msg) from self.error
        true(not self.cancelled, f"a call{when} is not cancelled by the layer itself")
        if self.answer is not self.response:
            msg = f"a call{when} was answered {self.answer!r}, not by the inner response"
            raise RuleBroken(msg)


CURRENT: ContextVar[Call] = ContextVar("CURRENT")


class Inner(Service[object, object]):
    """The service inside: answers each call with a response of its own, as it is told."""

    def __init__(self) -> None:
        self.started: list[Call] = []
        """The calls that came, in order."""
        self.error: BaseException | None = None
        """What calls raise."""
        self.holds = False
        """Whether calls wait to be let go."""
        self.room = sys.maxsize
        self.opens: anyio.Event | None = None
        """What `ready` waits for."""
        self.unready: Exception | None = None
        """What `ready` raises."""

    async def call(self, request: object, /) -> object:
        """Answer the call that is being made."""
        call = CURRENT.get(None)
        if call is None:
            msg = "the inner service must be called in the context of who calls the layer's"
            raise RuleBroken(msg)
        call.received.append(request)
        self.started.append(call)
        try:
            for _ in range(call.steps):
                await checkpoint()
            if self.holds:
                await call.go.wait()
        except BaseException:
            call.interrupted = True
            raise
        if self.error is not None:
            raise self.error
        return call.response

    async def ready(self) -> None:
        """Wait, fail or return, as told."""
        if self.unready is not None:
            raise self.unready
        if self.opens is not None:
            await self.opens.wait()

    def capacity(self) -> int:
        """Tell the room that there is."""
        return self.room

    def __repr__(self) -> str:
        """Show a name that cannot come from elsewhere."""
        return "<the inner service>"


class Trial:
    """
    One service of the layer, and calls to it.

    Args:
        subject: The layer.
        request: Makes the requests.
        group: Where the calls run.
    """

    def __init__(
        self, subject: LayerSubject, request: Callable[[], object], group: TaskGroup
    ) -> None:
        self.subject = subject
        self.inner = Inner()
        self.service = subject.wrap(self.inner)
        self.capacity = self.service.capacity()
        """What the service said when nothing ran."""
        self._request = request
        self._group = group
        self._numbers = count()

    def another(self) -> Trial:
        """Make one with another service of the same layer."""
        return Trial(self.subject, self._request, self._group)

    def call(self, request: object = None) -> Call:
        """Make a call that has not begun."""
        request = self._request() if request is None else request
        return Call(self.service, request, next(self._numbers))

    async def ask(self, request: object = None) -> Call:
        """Make a call and wait for its end."""
        call = self.call(request)
        await call.run()
        return call

    def start(
        self, deed: Callable[[Call], Coroutine[Any, Any, None]] = Call.run, request: object = None
    ) -> Call:
        """Have a call made in a task of its own."""
        call = self.call(request)
        self._group.start_soon(deed, call)
        return call

    async def fill(self) -> Sequence[Call]:
        """
        Start as many calls as the service has room for; the inner service holds them.

        Returns:
            The calls; none if the layer sets no limit.
        """
        self.inner.holds = True
        if self.capacity >= MANY:
            return []
        held = [self.start() for _ in range(self.capacity)]
        await soon(started(held))
        return held

    async def wait_in_call(self, number: int) -> Sequence[Call]:
        """
        Start calls one after the other, to wait for their turns.

        Returns:
            The calls; none if the layer makes nobody wait.
        """
        waiting = []
        for _ in range(number):
            call = self.start()
            waiting.append(call)
            if await soon(call.moved):
                return []
        return waiting

    async def unharmed(self) -> None:
        """Fail unless the service is as new: as much room, and calls are answered."""
        for call in self.inner.started:
            call.go.set()
        self.inner.error, self.inner.holds = None, False
        await comes(lambda: self.service.capacity() == self.capacity)
        equal(self.service.capacity(), self.capacity, "capacity() afterwards")
        call = self.start()
        await until(ended([call]), "the service takes calls afterwards")
        call.answered(" afterwards")


def started(calls: Iterable[Call]) -> Callable[[], bool]:
    """Answer what tells whether all of *calls* have reached the inner service."""
    return lambda: all(call.started for call in calls)


def ended(calls: Iterable[Call]) -> Callable[[], bool]:
    """Answer what tells whether all of *calls* have ended."""
    return lambda: all(call.ended for call in calls)


async def settled() -> None:
    """Let everything go on as far as it can before any time passes."""
    await soon(lambda: False)


async def soon(happened: Callable[[], bool]) -> bool:
    """Tell whether it happens before any time passes."""
    for _ in range(TURNS):
        if happened():
            return True
        await checkpoint()
    return happened()


async def comes(happened: Callable[[], bool]) -> bool:
    """Tell whether it happens, however long that takes."""
    if await soon(happened):
        return True
    for _ in range(100):
        await anyio.sleep(PATIENCE / 100)
        if happened():
            return True
    return False


async def until(happened: Callable[[], bool], what: str) -> None:
    """Fail, saying *what* must happen, if it does not."""
    true(await comes(happened), what)
