"""
Calls to a service that is checked, and waiting for what becomes of them.

Nothing here measures time. That a call waits is seen from its not having
begun after `TURNS` turns of the event loop; what a layer may need time for,
such as a limit by time, has `PATIENCE`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar

import anyio
from anyio.lowlevel import checkpoint

from layered.service import Service
from layered.testing.conformance.rule import RuleBroken, true

TURNS = 50
"""Turns of the event loop in which whatever can start has started."""

PATIENCE = 10.0
"""Seconds in which what a layer promises for later must have come."""


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
