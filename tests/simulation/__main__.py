"""
Simulate many seeds, or show one: ``python -m tests.simulation --help``.

Ends with status 1 at the first seed that fails, after its trace.
"""

from __future__ import annotations

import argparse
import sys
from random import SystemRandom
from time import perf_counter

from tests.simulation.mutants import MUTANTS, first_seed_that_finds
from tests.simulation.replay import shrunk, simulate


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(seed: int, *, shrink: bool) -> int:
    """Show one seed's whole trace, if wanted with as few faults as it takes to fail."""
    without = shrunk(seed) if shrink and simulate(seed).failures else ()
    outcome = simulate(seed, without)
    for line in (*outcome.lines, *outcome.failures):
        say(line)
    say(f"seed {seed}: {outcome.faults - len(without)} faults, {len(outcome.failures)} failures")
    return 1 if outcome.failures else 0


def run_many(first: int, count: int) -> int:
    """Simulate *count* seeds from *first* on, until one fails."""
    say(f"seeds {first} to {first + count - 1}")
    began = perf_counter()
    for done, seed in enumerate(range(first, first + count), 1):
        outcome = simulate(seed)
        if outcome.failures:
            say(str(outcome))
            say(f"with few faults: python -m tests.simulation --seed {seed} --shrink")
            return 1
        if done % 500 == 0 or done == count:
            each = (perf_counter() - began) / done * 1000
            say(f"{done} seeds passed, {each:.1f} ms each")
    return 0


def find_mutants(most: int) -> int:
    """Tell for each mutant at which seed it is found."""
    missed = 0
    for name in MUTANTS:
        found = first_seed_that_finds(name, most)
        missed += found is None
        say(f"{name:40}" + (f"{found.seed:5}  {found.failures[0][:100]}" if found else " never"))
    return 1 if missed else 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many (10,000)")
    parser.add_argument("--first", type=int, help="the first one; a random one if left out")
    parser.add_argument("--seed", type=int, help="show the trace of this one")
    parser.add_argument("--shrink", action="store_true", help="with --seed: leave faults out")
    parser.add_argument("--mutants", action="store_true", help="tell at which seed each is found")
    options = parser.parse_args()
    if options.seed is not None:
        return show(options.seed, shrink=options.shrink)
    if options.mutants:
        return find_mutants(options.seeds)
    first = SystemRandom().randrange(10**9) if options.first is None else options.first
    return run_many(first, options.seeds)


if __name__ == "__main__":
    sys.exit(main())
