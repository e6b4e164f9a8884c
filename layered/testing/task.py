"""`make_task`: a task as a worker's stack sees it, without a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from layered.task import NO_METADATA, Fence, Lease, Run, Task, new_id

A = TypeVar("A")


def make_task(
    args: A,
    *,
    attempt: int = 1,
    metadata: Mapping[str, str] = NO_METADATA,
    max_attempts: int | None = None,
) -> Task[A]:
    """
    Make a claimed task, the request that layers and handlers get.

    Args:
        args: Its arguments.
        attempt: The number of this run, 1 on the first.
        metadata: Small texts that came with it.
        max_attempts: Upper bound of runs set at push.
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
        max_attempts=max_attempts,
        lost=0,
        due_at=0,
        created_at=0,
    )
    return Task(args, Run(lease))
