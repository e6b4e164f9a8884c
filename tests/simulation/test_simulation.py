"""Workers keep the contract, whatever a seed does to them; and a seed always does the same."""

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from tests.simulation.faults import EVENTS, HINTS, KINDS
from tests.simulation.jobs import FIRST_STEPS
from tests.simulation.replay import simulate

SEEDS, CHUNK = 2_000, 50
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_workers_keep_the_contract_whatever_happens(first: int) -> None:
    """No rule is broken in any run; a failure says how to see it again."""
    outcomes = [simulate(seed) for seed in range(first, first + CHUNK)]

    assert [str(outcome) for outcome in outcomes if outcome.failures] == []


@pytest.mark.parametrize("seed", [1, 24, 190])
def test_seed_gives_the_same_trace_again(seed: int) -> None:
    """Nothing that an earlier run has left behind changes a run."""
    first = simulate(seed).lines
    other = simulate(seed + 1).lines
    again = simulate(seed).lines

    assert first == again
    assert first != other


def test_seeds_give_the_same_traces_in_another_process() -> None:
    """Neither addresses in memory nor hashes of strings change a run."""
    program = f"from {__name__} import digests; print(digests())"
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hashes},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hashes in ("1", "2")
    ]

    assert [one.strip() for one in told] == [str(digests())] * 2


def digests() -> list[str]:
    """Boil some traces down."""
    traces = ("\n".join(simulate(seed).lines) for seed in range(40, 90))
    return [sha256(trace.encode()).hexdigest() for trace in traces]


def test_fault_that_is_left_out_does_not_happen() -> None:
    """A run can be repeated with fewer faults, to see which of them matter."""
    with_all = simulate(24)
    without = simulate(24, range(1, with_all.faults + 1_000))

    assert any(" fault " in line for line in with_all.lines)
    assert not any(" fault " in line for line in without.lines)


def test_runs_meet_what_they_are_about() -> None:
    """Every kind of fault, of handler and of end comes up, so that passing means something."""
    words = Counter(
        word for seed in range(100) for line in simulate(seed).lines for word in line.split()[2:]
    )
    ends = ("done", "dead", "cancelled", "retry", "TaskStale", "TaskReaped", "SystemExit")

    assert [w for w in (*KINDS, *HINTS, *EVENTS, *FIRST_STEPS, *ends) if words[w] < 5] == []
