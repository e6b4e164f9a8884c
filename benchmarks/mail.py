"""The arguments of every benchmark, and the handlers."""

from __future__ import annotations

from typing import TypeVar

import attrs
from anyio.lowlevel import checkpoint

from layered import Data, Middleware, Task

R = TypeVar("R")


@attrs.frozen
class Mail:
    """About 100 bytes of JSON."""

    id: int
    to: str
    subject: str


SUBJECT = "What the engine can do, and what it cannot"
MAIL = Mail(1, "ada.lovelace@example.org", SUBJECT)


class State:
    """What a worker provides to its handlers."""


class Nothing(Middleware[Task[Mail], R]):
    """The simplest middleware that a user writes."""

    async def call(self, request: Task[Mail], /) -> R:
        """Call the inner service."""
        return await self.inner.call(request)


async def never(task: Task[Mail]) -> None:
    """Do nothing, and never suspend."""


async def once(_task: Task[Mail]) -> None:
    """Suspend once, as a handler does that waits for something."""
    await checkpoint()


async def never_with_state(mail: Mail, state: Data[State]) -> None:
    """Do nothing, with one injected value."""


async def once_with_state(_mail: Mail, _state: Data[State]) -> None:
    """Suspend once, with one injected value."""
    await checkpoint()
