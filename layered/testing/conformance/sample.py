"""Tasks to try things with: as a worker has claimed them, and as they are pushed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from layered.task import NO_METADATA, Draft, Fence, Lease, Run, Task, new_id

A = TypeVar("A")


def claimed_task(
    args: A, *, attempt: int = 1, metadata: Mapping[str, str] = NO_METADATA
) -> Task[A]:
    """
    Make a task as a worker's stack sees it.

    Args:
        args: Its arguments.
        attempt: The number of this run, 1 on the first.
        metadata: What travels with it.
    """
    lease = Lease(
        fence=Fence(new_id(), attempt, bytes(16)),
        queue="default",
        name=type(args).__name__,
        payload=b"",
        codec="json",
        version=1,
        metadata=metadata,
        priority=5,
        attempt=attempt,
        max_attempts=None,
        lost=0,
        due_at=0,
        created_at=0,
    )
    return Task(args, Run(lease))


def pushed_task(args: A) -> Task[A]:
    """Make a task as the stack around a push sees it: not encoded, not claimed."""
    # Metadata of its own: a layer around a push may write to it, as tracing does.
    return Task(args, Run(Draft(new_id(), "default", type(args).__name__, b"", metadata={})))
