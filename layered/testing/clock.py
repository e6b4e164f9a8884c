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
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio

from layered.errors import WrongState


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


class FakeClock:
    """
    The time of one test: an event loop on virtual time, and a wall clock that goes by it.

    ::

        clock = FakeClock()


        async def main() -> None:
            async with MemoryStorage(Email, now=clock) as storage:
                await storage.push(Email(), delay=3600)
                await clock.advance(3600)


        backend, options = clock.backend("trio")
        anyio.run(main, backend=backend, backend_options=options)  # at once

    Without such a loop it stands still, but for `step`: for `SqliteStorage`,
    whose thread takes real time, so that on virtual time every limit would
    pass meanwhile.

    Args:
        start: What the wall clock shows at first, aware.
    """

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._start = start.timestamp()
        self._elapsed: Callable[[], float] | None = None

    def backend(self, loop: str) -> tuple[str, dict[str, Any]]:
        """
        Answer an event loop that goes by this clock, as anyio's ``anyio_backend`` fixture wants it.

        Args:
            loop: ``"asyncio"`` or ``"trio"``.

        Raises:
            ValueError: if there is no such event loop.
        """
        name, options = virtual_backend(loop)
        if loop == "trio":
            self._elapsed = options["clock"].current_time
        else:
            options = {"loop_factory": self._make_loop}
        return name, options

    def _make_loop(self) -> VirtualLoop:
        loop = VirtualLoop()
        self._elapsed = loop.time
        return loop

    def __call__(self) -> float:
        """Answer the wall clock, seconds since 1970: what storages take as ``now``."""
        return self._start + (self._elapsed() if self._elapsed is not None else 0.0)

    @property
    def now(self) -> datetime:
        """The wall clock as an aware instant."""
        return datetime.fromtimestamp(self(), UTC)

    async def advance(self, seconds: float) -> None:
        """
        Sleep on virtual time: whatever is due until then happens before.

        Raises:
            WrongState: if no event loop goes by this clock: it would take real time.
        """
        if self._elapsed is None:
            msg = (
                "advancing a FakeClock: no event loop goes by this clock; run on its backend(), "
                f"or move the wall clock alone: step({seconds:g})"
            )
            raise WrongState(msg)
        await anyio.sleep(seconds)

    def step(self, seconds: float) -> None:
        """Set the wall clock forwards, or backwards; loops and leases do not notice."""
        self._start += seconds
