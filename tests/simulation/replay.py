"""Run the world of a seed, tell what came of it, and find out which of its faults matter."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
import trio
from trio.testing import MockClock

from tests.simulation.scheduling import seeded
from tests.simulation.world import World


@attrs.frozen
class Outcome:
    """
    What came of a run.

    Args:
        seed: Whose run.
        failures: The rules that were broken, the first one first.
        faults: How many faults there were.
        lines: The trace.
    """

    seed: int
    failures: Sequence[str]
    faults: int
    lines: Sequence[str]

    def __str__(self) -> str:
        """Tell what is wrong, where it began, and how to see all of it."""
        last = "\n".join(self.lines[-40:])
        again = f"python -m tests.simulation --seed {self.seed}"
        return f"seed {self.seed}: {self.failures[0]}\n{last}\nthe whole trace: {again}"


def simulate(seed: int, without: Collection[int] = ()) -> Outcome:
    """Run the world of *seed*; without the faults of these numbers, 1 for the first."""
    with seeded(seed):
        world = World(seed, without)
        trio.run(world.run, clock=MockClock(autojump_threshold=0))
    lines = [f"{time:8.3f} {' '.join(map(str, what))}" for time, *what in world.trace]
    return Outcome(seed, world.failures, len(world.faults.made), lines)


def shrunk(seed: int) -> Collection[int]:
    """
    Leave out as many faults of a failing *seed* as can be spared; answer their numbers.

    Whole runs of numbers first, then shorter ones. What is left need not be
    the least: leaving one fault out changes what happens after it.
    """
    without: frozenset[int] = frozenset()
    size = count = simulate(seed).faults
    while size:
        for start in range(1, count + 1, size):
            more = without.union(range(start, start + size))
            if more != without and simulate(seed, more).failures:
                without = more
        size //= 2
    return without
