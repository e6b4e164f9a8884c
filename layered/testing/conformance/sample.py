"""A task to try layers with as they stand around a push."""

from __future__ import annotations

from typing import TypeVar

from layered.task import Draft, Run, Task, new_id

A = TypeVar("A")


def pushed_task(args: A) -> Task[A]:
    """Make a task as the stack around a push sees it: not encoded, not claimed."""
    # Metadata of its own: a layer around a push may write to it, as tracing does.
    return Task(args, Run(Draft(new_id(), "default", type(args).__name__, b"", metadata={})))
