"""Plain functions: each call runs in a thread, and is waited for whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
from anyio import to_thread

from layered.service.clock import loop_poster, loop_token

T = TypeVar("T")


class Threads:
    """
    How many threads a worker's plain functions may use; for one event loop after the other.

    anyio's own limit of 40, shared by everything in the program, is never used.

    Args:
        most: The number; 1 or more.
    """

    __slots__ = ("_limiter", "_loop", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._loop: object = None
        self._limiter: anyio.CapacityLimiter

    def limiter(self) -> anyio.CapacityLimiter:
        """Answer the limiter of the running loop: another one could not wake its waiters."""
        loop = loop_token()
        if loop is not self._loop:
            self._loop, self._limiter = loop, anyio.CapacityLimiter(self.most)
        return self._limiter

    def __repr__(self) -> str:
        """Show the number."""
        return f"Threads({self.most})"


async def in_thread(threads: Threads, function: Callable[..., T], /, *arguments: object) -> T:
    """
    Call *function* in one of *threads*.

    Context variables are those of the caller.

    Cancellation:
        While it waits for a thread: at once, and the function never runs.
        After that: when the function has returned. A cancel scope then
        takes effect at the next checkpoint, so a result is not lost here;
        `asyncio.Task.cancel`, which no scope can hold off, is raised.
    """
    job = Job(function, arguments)
    try:
        await to_thread.run_sync(job.run, abandon_on_cancel=False, limiter=threads.limiter())
    except BaseException:
        await job.ended()
        raise
    return job.result  # kept there: trio refuses to carry a coroutine out of a thread


class Job(Generic[T]):
    """
    One call in a thread, which others can wait for.

    Args:
        function: What to call.
        arguments: By position.
    """

    __slots__ = ("_arguments", "_begun", "_function", "_has_ended", "_tell", "result")

    def __init__(self, function: Callable[..., T], arguments: tuple[object, ...]) -> None:
        self._function = function
        self._arguments = arguments
        self._begun = threading.Lock()
        self._has_ended = False
        self.result: T
        self._tell: Callable[[], object] | None = None

    def run(self) -> None:
        """Call the function, unless `ended` came first; keep its result."""
        if not self._begun.acquire(blocking=False):
            raise RuntimeError  # nobody is waiting for the answer
        try:
            self.result = self._function(*self._arguments)
        finally:
            self._has_ended = True
            if self._tell is not None:
                self._tell()

    async def ended(self) -> None:
        """Wait until the function has returned, or will never be called."""
        if self._begun.acquire(blocking=False):
            return
        event, post = anyio.Event(), loop_poster()
        self._tell = lambda: post(event.set)
        while not self._has_ended:
            try:
                with anyio.CancelScope(shield=True):
                    await event.wait()
            except anyio.get_cancelled_exc_class():
                continue  # cancelled again, past the shield; the first one is raised
