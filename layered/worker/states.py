"""
The states of a worker, and every legal move between them.

::

    pending ──run──▶ running ◀──resume── paused
       │               │  ╰────pause─────▶ │
       │             stop                stop
       │               ▼                   │
       ╰────stop──▶ draining ◀─────────────╯
                       │
                     ended
                       ▼
                    stopped

Rule 1: a state changes only by a move in `MOVES`.
Rule 2: nothing is claimed but in ``running``.
Rule 3: ``draining`` ends by itself, in limited time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

import anyio

from layered.errors import WrongState


class State(Enum):
    """Where a worker stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"


MOVES: Mapping[tuple[State, str], State] = {
    (State.PENDING, "run"): State.RUNNING,
    (State.PENDING, "stop"): State.DRAINING,
    (State.RUNNING, "pause"): State.PAUSED,
    (State.PAUSED, "resume"): State.RUNNING,
    (State.RUNNING, "stop"): State.DRAINING,
    (State.PAUSED, "stop"): State.DRAINING,
    (State.DRAINING, "ended"): State.STOPPED,
}
"""(State, move) → the state it leads to; everything else is refused."""


class Machine:
    """
    The state of one worker's run.

    Args:
        worker: The worker's name, for messages.
        changed: Called with each new state.
    """

    __slots__ = ("_changed", "_event", "_worker", "state")

    def __init__(self, worker: str, changed: Callable[[State], None]) -> None:
        self._worker = worker
        self._changed = changed
        self._event = anyio.Event()
        self.state = State.PENDING

    def move(self, move: str) -> None:
        """
        Make a move.

        Raises:
            WrongState: if the present state does not allow it.
        """
        after = MOVES.get((self.state, move))
        if after is None:
            allowed = ", ".join(sorted(name for state, name in MOVES if state is self.state))
            msg = (
                f"worker {self._worker!r} is {self.state.value}: it cannot {move!r}; "
                f"what it can do now is {allowed or 'nothing more: build a new one'}"
            )
            raise WrongState(msg)
        self.state = after
        self._changed(after)
        self._event.set()
        self._event = anyio.Event()

    async def reach(self, *states: State) -> None:
        """Wait until the state is one of *states*."""
        while self.state not in states:
            await self._event.wait()
