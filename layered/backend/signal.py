"""Hints inside one process: "something was pushed", "something has ended"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Signal:
    """
    Calls its listeners, in the order of their coming, in the caller's thread.

    A hint may be lost, repeated or late; nothing depends on it but speed.
    Listeners must be quick and must not raise.
    """

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def notify(self) -> None:
        """Call all listeners."""
        for listener in self._listeners:
            listener()

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Have *listener* called while the context is open."""
        self._listeners = [*self._listeners, listener]
        try:
            yield
        finally:
            self._listeners = [one for one in self._listeners if one is not listener]
