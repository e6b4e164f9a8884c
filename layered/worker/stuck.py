"""What is left to do about code that does not end though it was cancelled."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from layered.task import Run

log = logging.getLogger("layered.worker")

STUCK_STATUS = 70
"""Exit status of a process whose handlers would not end (EX_SOFTWARE of sysexits.h)."""


def report(worker: str, runs: Sequence[Run], children: int) -> None:
    """Log what does not end."""
    for run in runs:
        log.critical(
            "worker %s: task %s %s does not end though cancelled; it was given back",
            worker,
            run.record.name,
            run.record.id,
        )
    if children:
        log.critical("worker %s: %d spawned functions do not end", worker, children)


def end_process() -> NoReturn:
    """Log where every thread is, and end the process: a supervisor starts another."""
    for thread, frame in sys._current_frames().items():  # noqa: SLF001 - public
        log.critical("thread %s:\n%s", thread, "".join(traceback.format_stack(frame)))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(STUCK_STATUS)
