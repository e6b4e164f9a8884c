"""A store and a crew of worker processes for each test."""

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Crew
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
def report(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Callable[[str], None]:
    """Give a function that shows figures of a test that passes, too."""

    def show(figures: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{request.node.name}: {figures}\n")

    return show


@pytest.fixture
def chance(report: Callable[[str], None]) -> random.Random:
    """Give a source of chance; FAULT_SEED in the environment repeats a run's choices."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    report(f"FAULT_SEED={seed}")
    return random.Random(seed)  # noqa: S311 - no secret
