"""Which faults happen: drawn from the seed, numbered, and each can be left out by its number."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import NamedTuple

KINDS = ("fail", "lose", "slow", "lag", "odd")
"""Of an operation: refused before it; applied, and the answer lost; late before it; late after it;
refused with an error that no backend should raise."""
HINTS = ("lost", "late", "twice")
EVENTS = ("freeze", "kill", "drain", "cut", "step", "pause")
"""Of a world: a process stands still; is killed; is told to stop; does not reach the store;
the store's wall clock jumps; a worker is paused."""


class Fault(NamedTuple):
    """One fault: its kind, its number in this run, and how long it takes."""

    kind: str
    number: int
    seconds: float


NONE = Fault("", 0, 0.0)


class Faults:
    """
    The faults of one run.

    Each run has some kinds of faults only, more or less often: what one
    fault hides another run shows.

    Args:
        chance: Decides.
        without: Numbers of faults to leave out.
    """

    def __init__(self, chance: Random, without: Collection[int] = ()) -> None:
        self._chance = chance
        self._without = without
        self._rate = chance.choice((0.0, 0.02, 0.1, 0.3))
        self._kinds = chance.sample(KINDS, chance.randint(1, len(KINDS)))
        self._hint_rate = chance.choice((0.0, 0.3, 1.0))
        self._hints = chance.sample(HINTS, chance.randint(1, len(HINTS)))
        self.longest = chance.choice((0.3, 2.0, 8.0))
        self._events = chance.sample(EVENTS, chance.randint(1, len(EVENTS)))
        self.made: list[Fault] = []
        self.deaf = chance.random() < 0.3
        """Whether hints stay unreliable when all other faults have stopped."""
        self.stopped = False

    def of_operation(self) -> Fault:
        """Say what goes wrong with an operation."""
        if self.stopped or self._chance.random() >= self._rate:
            return NONE
        return self._make(self._chance.choice(self._kinds), self._chance.random() * self.longest)

    def of_hint(self) -> Fault:
        """Say what goes wrong with a hint."""
        if (self.stopped and not self.deaf) or self._chance.random() >= self._hint_rate:
            return NONE
        return self._make(self._chance.choice(self._hints), self._chance.random() * 2)

    def of_world(self) -> Fault:
        """Say what happens next, and how long it takes."""
        return self._make(self._chance.choice(self._events), self._chance.random() * 8)

    def _make(self, kind: str, seconds: float) -> Fault:
        fault = Fault(kind, len(self.made) + 1, round(seconds, 3))
        self.made.append(fault)
        return NONE if fault.number in self._without else fault
