"""The clock that the backend rules move."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

START = 1_700_000_000


class Clock:
    """
    The wall clock of the storage under test: it stands still until a rule moves it.

    A storage that keeps its own time takes it as its ``now``. For one that
    goes by the clock of a server, set `moved` to what sets that clock.

    Attributes:
        moved: Called with the new time, in seconds since 1970, when the
            storage is open and whenever a rule has moved the clock.
    """

    def __init__(self) -> None:
        self.moved: Callable[[float], Awaitable[None]] | None = None
        self._micros = START * 1_000_000

    def __call__(self) -> float:
        """Answer seconds since 1970."""
        return self._micros / 1e6

    @property
    def now(self) -> datetime:
        """The time as an aware instant."""
        return datetime.fromtimestamp(self(), UTC)

    async def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self._micros += round(seconds * 1e6)
        if self.moved is not None:
            await self.moved(self())
