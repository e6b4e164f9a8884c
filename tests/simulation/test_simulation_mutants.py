"""The simulation can fail: it finds each fault put into layered, within what CI runs of it."""

from collections.abc import Callable

import pytest

from tests.simulation.mutants import MUTANTS, first_seed_that_finds, mutated
from tests.simulation.replay import shrunk, simulate
from tests.simulation.test_simulation import SEEDS


@pytest.mark.parametrize("name", MUTANTS)
def test_simulation_finds_a_mutant(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    """Some seed of those that CI runs breaks a rule."""
    found = first_seed_that_finds(name, SEEDS)

    assert found is not None
    record_property("seed", found.seed)
    print(f"{name}: found by seed {found.seed}: {found.failures[0]}")  # noqa: T201 - for `-s`


def test_shrinking_leaves_a_run_that_still_fails() -> None:
    """What is left of the faults is less than there was, and breaks a rule."""
    found = first_seed_that_finds("settle fenced by state only", SEEDS)
    assert found is not None

    with mutated("settle fenced by state only"):
        without = shrunk(found.seed)
        left = simulate(found.seed, without)

    assert left.failures
    assert 0 < len(without) < found.faults


def test_failure_says_how_to_see_it_again() -> None:
    """The message has the rule, the end of the trace, and the command."""
    found = first_seed_that_finds("settle without a fence", SEEDS)

    told = str(found)
    assert found is not None
    assert found.failures[0] in told
    assert f"python -m tests.simulation --seed {found.seed}" in told
