"""What handlers spawned: async functions that run beside them, and end with the worker."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from layered.errors import WrongState
from layered.worker.meaning import Meaning, meaning_of

log = logging.getLogger("layered.worker")


class Children:
    """
    The spawned functions of one shift.

    Args:
        worker: The worker's name, for messages.
        fatal: Takes what should end the program.
    """

    __slots__ = ("_ended", "_fatal", "_group", "_worker", "running")

    def __init__(self, worker: str, fatal: Callable[[BaseException], None]) -> None:
        self._worker = worker
        self._fatal = fatal
        self._group: TaskGroup | None = None
        self._ended = anyio.Event()
        self.running = 0

    def start(self, group: TaskGroup | None) -> None:
        """Run children in *group* from now on; in none if it is `None`."""
        self._group = group

    def spawn(
        self, function: Callable[..., Awaitable[object]], args: tuple[object, ...], name: str | None
    ) -> None:
        """
        Run *function* beside the handlers.

        Raises:
            WrongState: if the worker does not run.
        """
        if self._group is None:
            msg = f"worker {self._worker!r} does not run: it can start no {function!r}"
            raise WrongState(msg)
        self.running += 1
        self._group.start_soon(self._run, function, args, name=name)

    async def _run(
        self, function: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> None:
        try:
            await function(*args)
        except BaseException as error:
            meaning = None if isinstance(error, Exception) else meaning_of(error)
            if meaning is Meaning.ENCLOSING:
                raise
            if meaning is Meaning.STOP:
                self._fatal(error)
            else:
                log.exception("worker %s: spawned %r failed", self._worker, function)
        finally:
            self.running -= 1
            self._ended.set()

    async def quiet(self) -> None:
        """Wait until none runs."""
        while self.running:
            self._ended = anyio.Event()
            await self._ended.wait()

    def cancel(self) -> None:
        """Cancel all, and whoever holds their group open."""
        if self._group is not None:
            self._group.cancel_scope.cancel()
