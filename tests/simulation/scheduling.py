"""
A trio run that a seed decides: the order of tasks, every random number, and who stands still.

trio orders the tasks that can run by a private random generator, and only
if a private flag is set are they sorted before. Both are used here, for
trio's own reason: so that a run can be repeated. `test_simulation.py`
shows that it can, so a version of trio that changes this is noticed.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from unittest.mock import patch
from uuid import UUID

import attrs
import trio
from trio._core import _run as trio_run
from trio.lowlevel import Task

from layered.backends.memory import book
from layered.task import Fence, Run
from layered.worker import shift
from layered.worker.flight import Flight


@attrs.define(eq=False)
class Process:
    """
    What stands for an operating system's process: all tasks of one worker's run.

    Args:
        name: For traces.
    """

    name: str
    frozen: bool = False
    severed: bool = False
    """Whether it was killed: nothing that it sends reaches the store any more."""
    cut_until: float = 0.0
    """Until when it does not reach the store."""
    stood_still: float = 0.0
    """Seconds for which it was frozen, in all."""
    froze_at: float = 0.0
    held: list[Task] = attrs.field(factory=list)

    def freeze(self) -> None:
        """Stop every task of this process where it is, as SIGSTOP does; the clock goes on."""
        self.frozen, self.froze_at = True, trio.current_time()
        queue = trio_run.GLOBAL_RUN_CONTEXT.runner.runq
        self.held = [task for task in queue if task.context.get(PROCESS) is self]
        for task in self.held:
            queue.remove(task)

    def thaw(self) -> None:
        """Let all tasks go on, as SIGCONT does."""
        if self.frozen:
            self.frozen = False
            self.stood_still += trio.current_time() - self.froze_at
            trio_run.GLOBAL_RUN_CONTEXT.runner.runq.extend(self.held)
            self.held = []


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""The process that a task belongs to; tasks inherit it from the task that starts them."""


class _RunQueue(deque[Task]):
    """trio's queue of tasks that can run; those of a frozen process are put aside."""

    def append(self, task: Task, /) -> None:
        process = task.context.get(PROCESS)
        if process is not None and process.frozen:
            process.held.append(task)
        else:
            super().append(task)


def allow_freezing() -> None:
    """Make `Process.freeze` work in the present trio run."""
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    runner.runq = _RunQueue(runner.runq)


async def evict(scope: trio.CancelScope) -> None:
    """Cancel everything in *scope*, through all shields: only for runs that have failed."""
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    while True:  # a task may enter another shield when it is cancelled
        for task in runner.tasks:
            status: trio_run.CancelStatus | None = task._cancel_status
            while status is not None:
                status._scope.shield = False
                status = status._parent
        scope.cancel()
        await trio.sleep(1)


def _fence(run: Run) -> Fence:
    assert run.lease is not None
    return run.lease.fence


def _in_order(self: Flight) -> list[Run]:
    """List the runs by fence: a set goes by addresses in memory, which no seed decides."""
    return sorted(self._runs, key=_fence)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let *seed* decide everything that is random in layered and in trio, and log nothing."""
    states = random.getstate(), trio_run._r.getstate()
    chance = random.Random(f"{seed} ids")  # noqa: S311 - repeatable is the point
    logger = logging.getLogger("layered")
    level = logger.level
    with ExitStack() as stack:
        stack.enter_context(patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True))
        stack.enter_context(patch.object(book, "token_bytes", chance.randbytes))
        stack.enter_context(patch.object(shift, "uuid4", lambda: UUID(int=chance.getrandbits(128))))
        stack.enter_context(patch.object(Flight, "snapshot", _in_order))
        random.seed(f"{seed} jitter")
        trio_run._r.seed(f"{seed} scheduling")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
            random.setstate(states[0])
            trio_run._r.setstate(states[1])
