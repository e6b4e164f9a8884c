"""A store and a crew of worker processes for each test."""

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Crew
from tests.faults.setting import LOOPS, Loop
from tests.faults.store import Store, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an empty store."""
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def crew(tmp_path: Path, store: Store) -> Iterator[Crew]:
    """Give a crew, and end it; show what its processes complained of, should the test fail."""
    crew = Crew(tmp_path)
    try:
        yield crew
    finally:
        crew.close()
        if crew.log.exists():
            sys.stderr.write(crew.log.read_text()[-20_000:])


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Give the seed of what is left to chance; FAULT_SEED in the environment repeats a run's."""
    return int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.fixture
def chance(seed: int) -> random.Random:
    """Give a source of chance."""
    return random.Random(seed)  # noqa: S311 - no secret


@pytest.fixture
def loop(chance: random.Random) -> Loop:
    """Give an event loop by chance: each scenario need not run on both every time."""
    return chance.choice(LOOPS)


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], seed: int) -> Callable[[str, str], None]:
    """Give a function that shows figures of a scenario, also to `tests.faults.__main__`."""

    def show(scenario: str, figures: str) -> None:
        line = f"{scenario}: {figures} (seed {seed})\n"
        with capsys.disabled():
            sys.stderr.write(f"\n{line}")
        if name := os.environ.get("FAULT_REPORT"):
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(line)

    return show
