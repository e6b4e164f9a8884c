"""`Poll`: when a worker looks at its store again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from layered.backend.contract import Backend
from layered.backend.types import Claimed


class Poll:
    """
    A latch of one worker over one backend: waits until a claim may find something.

    `wait` returns at once at the start, after a claim that was not empty
    or said `more`, and when a hint came since that claim began. Otherwise
    it returns at a hint, at the next due time, or after the backend's
    poll interval (±20 %), whichever is first. So a lost hint costs one
    interval, never a task.

    Args:
        backend: Gives hints and the interval.
    """

    __slots__ = ("_backend", "_event", "_hinted", "_sleep")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._hinted = True
        self._sleep = 0.0
        self._event: anyio.Event | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the backend's hints while the context is open."""
        with self._backend.pushed.listening(self.hint):
            yield

    def hint(self) -> None:
        """Make the next `wait` return at once; from the loop's thread only."""
        self._hinted = True
        if self._event is not None:
            self._event.set()

    def begin(self) -> None:
        """Note that a claim begins: hints from here on count."""
        self._hinted = False

    def end(self, claimed: Claimed) -> None:
        """Note what the claim answered."""
        if claimed.leases or claimed.more:
            self._hinted = True
        interval = self._backend.poll * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
        due = claimed.next_due_in
        self._sleep = interval if due is None else min(interval, max(due, 0.0))

    async def wait(self) -> None:
        """
        Wait as the class says.

        Cancellation:
            At any point, at no cost; nothing is claimed here.
        """
        if self._hinted:
            return
        self._event = anyio.Event()
        try:
            with anyio.move_on_after(self._sleep):
                await self._event.wait()
            self._hinted = True  # until a claim begins: the caller may have to wait for room first
        finally:
            self._event = None
