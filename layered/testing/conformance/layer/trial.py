"""A service of the layer that is checked, around an inner service that does as it is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from layered.service import Service
from layered.testing.conformance.layer.call import CURRENT, Call, comes, ended, soon, started, until
from layered.testing.conformance.layer.subject import LayerSubject
from layered.testing.conformance.rule import RuleBroken, equal

MANY = 100
"""A capacity from here on counts as unlimited."""


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
