"""`Job`: one piece of work on its way through a lane."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

from layered.service.clock import loop_poster, loop_token

T = TypeVar("T")


class EffectRaised(Exception):
    """Carries an error of the user's own code past the translation of ours."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Job(Generic[T]):
    """
    One piece of work, and what came of it.

    Args:
        work: Run in the lane's thread, with its connection.
        alone: Whether it wants a transaction of its own.
        durable: Whether its commit must survive a loss of power.
    """

    __slots__ = (
        "_result",
        "_turn",
        "alone",
        "done",
        "durable",
        "error",
        "hurried",
        "loop",
        "post",
        "work",
    )

    def __init__(
        self, work: Callable[[sqlite3.Connection], T], *, alone: bool, durable: bool
    ) -> None:
        self.work = work
        self.alone = alone
        self.durable = durable
        self.hurried = False
        self.done = anyio.Event()
        self.loop = loop_token()
        self.post = loop_poster()
        self.error: BaseException | None = None
        self._turn = [None]

    def take(self) -> bool:
        """Take the work; `True` for the first taker only, in whatever threads they are."""
        try:
            self._turn.pop()  # atomic
        except IndexError:
            return False
        return True

    def succeed(self, result: T) -> None:
        """Note the result."""
        self._result = result

    def outcome(self) -> T:
        """Answer the result or raise the error."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # its traceback holds this frame
        return self._result
