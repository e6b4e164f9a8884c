"""The arguments of every benchmark, and the handlers."""

from __future__ import annotations

import attrs
from anyio.lowlevel import checkpoint

from layered import Data, Task


@attrs.frozen
class Mail:
    """About 100 bytes of JSON."""

    id: int
    to: str
    subject: str


MAIL = Mail(1, "ada.lovelace@example.org", "What the engine can do, and what it cannot")


class State:
    """What a worker provides to its handlers."""


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
