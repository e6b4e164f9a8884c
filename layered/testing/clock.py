"""
Virtual time: event loops whose clock jumps to the next timer when nothing else can run.

A test of a year of waiting takes milliseconds and gives the same times in
every run. The clock starts at 0 and stands still while code runs. What
happens outside the loop takes no virtual time: while a thread or a socket
is all that is waited for, timers fire first.

Source: trio's ``MockClock(autojump_threshold=0)``; the asyncio loop here
behaves the same.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time; use it as a ``loop_factory``."""

    def __init__(self) -> None:
        self._jumps = _JumpingSelector()
        super().__init__(self._jumps)
        # A timer is due if it is earlier than now plus this. With the default, 1 ns, a year is
        # too far: there floats are 4 ns apart, so the sum is now itself and the timer never due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Tell the virtual time, in seconds; 0 at the start."""
        return self._jumps.now


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop would wait for its next timer, moves the time there instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(0)
        if not events:
            self.now += timeout
        return events


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """
    Answer an event loop on virtual time, as `anyio.run` and anyio's pytest plugin take it.

    ::

        >>> import anyio
        >>> backend, options = virtual_backend("asyncio")
        >>> anyio.run(anyio.sleep, 3600, backend=backend, backend_options=options)  # at once

    Args:
        name: ``"asyncio"`` or ``"trio"``.

    Returns:
        The backend's name and its options; good for one run, as trio's clock goes on.

    Raises:
        ValueError: if there is no such event loop.
    """
    if name == "asyncio":
        return name, {"loop_factory": VirtualLoop}
    if name == "trio":
        from trio.testing import MockClock  # noqa: PLC0415 - programs on asyncio need no trio

        return name, {"clock": MockClock(autojump_threshold=0)}
    msg = f"a virtual clock for the event loop {name!r}: there is none; use 'asyncio' or 'trio'"
    raise ValueError(msg)
