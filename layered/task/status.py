"""
The states of a task, and every legal move between them.

Rule 1: a state changes only by a move in `MOVES`.
Rule 2: ``done`` is never left.
Rule 3: a worker's moves (those out of ``running``) need the current fence.

The numbers are stored by backends: never renumber them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Status(IntEnum):
    """Where a task stands. Up to and including `RUNNING` a task is *live*."""

    WAITING = 0
    """A workflow step whose inputs have not all arrived."""
    SCHEDULED = 1
    """Pushed for the future; has not run."""
    RETRY = 2
    """Has run, and waits for its next run in the future."""
    READY = 3
    """Due: may be claimed."""
    RUNNING = 4
    """Claimed by a worker, under a lease."""
    DONE = 5
    """Ended well. Terminal."""
    DEAD = 6
    """Failed for good, payload and errors kept. Terminal, can be requeued."""
    CANCELLED = 7
    """Cancelled by a user. Terminal, can be requeued."""

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended."""
        return self >= Status.DONE

    @property
    def label(self) -> str:
        """The name in lower case, for people."""
        return self.name.lower()


W, S, T, R = Status.WAITING, Status.SCHEDULED, Status.RETRY, Status.READY
RUN, DONE, DEAD, CAN = Status.RUNNING, Status.DONE, Status.DEAD, Status.CANCELLED

MOVES: Mapping[str, frozenset[tuple[Status, Status]]] = {
    "promote": frozenset({(S, R), (T, R)}),
    "inputs": frozenset({(W, R)}),
    "claim": frozenset({(R, RUN)}),
    "settle": frozenset({(RUN, DONE), (RUN, T), (RUN, DEAD), (RUN, CAN)}),
    "release": frozenset({(RUN, R), (RUN, T), (RUN, CAN)}),
    "reap": frozenset({(RUN, T), (RUN, R), (RUN, DEAD), (RUN, CAN)}),
    "cancel": frozenset({(W, CAN), (S, CAN), (T, CAN), (R, CAN)}),
    "expire": frozenset({(R, DEAD), (S, DEAD), (T, DEAD)}),
    "requeue": frozenset({(DEAD, R), (CAN, R)}),
}
"""Operation → the moves that it may make."""
