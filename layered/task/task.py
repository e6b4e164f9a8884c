"""`Task`: the request that layers and handlers see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from layered.task.run import Draft, Lease, Run

A_co = TypeVar("A_co", covariant=True)
B = TypeVar("B")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Task(Generic[A_co]):
    """
    A task on its way through a stack: its arguments and the record of its run.

    In a worker's stack the arguments are decoded and the run was claimed;
    around a push they are not yet encoded and `claimed` is `False`.
    Read-only and small; compared by identity.

    Args:
        args: The arguments, decoded.
        run: The run's record, shared by all copies.
    """

    __slots__ = ("args", "run")

    def __init__(self, args: A_co, run: Run) -> None:
        self.args = args
        self.run = run

    @property
    def id(self) -> str:
        """A UUID in text form."""
        return self.run.record.id

    @property
    def name(self) -> str:
        """The task's name: what its handler is found by."""
        return self.run.record.name

    @property
    def queue(self) -> str:
        """The queue that it was pushed to."""
        return self.run.record.queue

    @property
    def metadata(self) -> Mapping[str, str]:
        """Small text values that travel with the task, such as trace context."""
        return self.run.record.metadata

    @property
    def attempt(self) -> int:
        """The number of this run: 1 on the first, 0 around a push."""
        return self.run.attempt

    @property
    def max_attempts(self) -> int | None:
        """Upper bound of runs set at push; `None` for none."""
        return self.run.record.max_attempts

    @property
    def priority(self) -> int:
        """0 to 9, higher first."""
        return self.run.record.priority

    @property
    def claimed(self) -> bool:
        """Whether a worker claimed it; `False` around a push."""
        return isinstance(self.run.record, Lease)

    @property
    def due_at(self) -> datetime | None:
        """When it was due, aware UTC; around a push the chosen instant, if any."""
        record = self.run.record
        return record.at if isinstance(record, Draft) else from_micros(record.due_at)

    @property
    def created_at(self) -> datetime | None:
        """When it was pushed, aware UTC; `None` around a push."""
        record = self.run.record
        return None if isinstance(record, Draft) else from_micros(record.created_at)

    def replace(self, args: B) -> Task[B]:
        """Answer a task with other arguments and the same run."""
        return Task(args, self.run)

    def __repr__(self) -> str:
        """Show name, id and attempt, never the arguments: they may be secret."""
        return f"<Task {self.name} {self.id} attempt {self.attempt}>"


def from_micros(instant: int) -> datetime:
    """Make an aware UTC datetime of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=instant)


def to_micros(instant: datetime) -> int:
    """
    Make microseconds since 1970 of an aware datetime.

    Raises:
        ValueError: if it is naive.
    """
    if instant.tzinfo is None:
        msg = f"{instant!r} has no time zone; give an aware datetime, such as datetime.now(UTC)"
        raise ValueError(msg)
    return (instant - EPOCH) // timedelta(microseconds=1)
