"""`Turns`: how many calls a test allows, which have begun, and which wait."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Turns(Generic[T]):
    """
    Calls that begin as far as they are allowed to, first come first served; at first all do.

    Rule 1: while a call waits, `left` is 0.
    Rule 2: calls are in `begun` in the order of their coming. So a turn is
    given by putting the call there; trio wakes tasks in any order.
    Rule 3: a call that was given a turn and is cancelled before it went on
    passes it on.
    """

    __slots__ = ("_changed", "_waiting", "begun", "left")

    def __init__(self) -> None:
        self.left = sys.maxsize
        self.begun: deque[T] = deque()
        self._waiting: OrderedDict[T, anyio.Event] = OrderedDict()
        self._changed = anyio.Event()

    @property
    def waiting(self) -> int:
        """Number of calls that wait."""
        return len(self._waiting)

    def allow(self, number: int) -> None:
        """Set how many turns there are; calls that wait go first."""
        self.left = number
        while self._waiting and self.left > 0:
            call, turn = self._waiting.popitem(last=False)
            self._begin(call)
            turn.set()
        self.tell()

    async def begin(self, call: T) -> None:
        """
        Put *call* into `begun`, once there is a turn for it.

        Cancellation:
            At any point; it has not begun then, unless it was taken from there.
        """
        if self.left > 0:
            self._begin(call)
            self.tell()
            return
        turn = self._waiting[call] = anyio.Event()
        try:
            await turn.wait()
        except BaseException:
            if not turn.is_set():
                del self._waiting[call]
            elif call in self.begun:
                self.begun.remove(call)
                self.allow(min(self.left + 1, sys.maxsize))
            raise

    def _begin(self, call: T) -> None:
        if self.left < sys.maxsize:
            self.left -= 1
        self.begun.append(call)

    def tell(self) -> None:
        """Have all that wait in `changed` look again."""
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Wait until something changes."""
        await self._changed.wait()
