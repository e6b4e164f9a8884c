"""The queues that are known, and which of them are held up."""

from __future__ import annotations

from layered.backend import Queue
from layered.backends.memory.rows import FOREVER
from layered.task import from_micros


class Pauses:
    """
    Until when each known queue is paused, in µs: in the past if it is not.

    Args:
        queue: The queue that is known from the start.
    """

    __slots__ = ("_until",)

    def __init__(self, queue: str) -> None:
        self._until: dict[str, float] = {queue: 0}

    def pause(self, queue: str, until: int | None) -> None:
        """Hold a queue up until an instant; `None` for until it is resumed."""
        self._until[queue] = FOREVER if until is None else until

    def resume(self, queue: str) -> None:
        """End a pause, if there is one."""
        if queue in self._until:
            self._until[queue] = 0

    def left(self, queue: str, now: int) -> float:
        """Answer the seconds that a pause goes on: 0 if there is none, and perhaps infinite."""
        return max(self._until.get(queue, 0) - now, 0) / 1e6

    def queues(self, now: int) -> list[Queue]:
        """List the known queues by name."""
        return [
            Queue(name, until > now, from_micros(int(until)) if now < until < FOREVER else None)
            for name, until in sorted(self._until.items())
        ]
