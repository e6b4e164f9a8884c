"""Programs that push in transactions, and a worker beside them, each a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.backends.postgres.place import Place
from tests.house.source import ROOT


@pytest.fixture
def place(postgres: str, postgres_schema: str) -> Place:
    """Give a place."""
    return Place(postgres, postgres_schema)


def shop(place: Place, what: str, *rest: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    program = [sys.executable, "-W", "error", "-m", "tests.backends.postgres.shop"]
    return subprocess.run(
        [*program, what, place.dsn, place.schema, *map(str, rest)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_only_the_committed_task_of_two_programs_runs(place: Place) -> None:
    """One pushes in a transaction that is rolled back, one in a transaction that is committed."""
    place.query(f"CREATE TABLE {place.schema}.orders (number integer)")

    rolled_back = shop(place, "rollback", 1)
    committed = shop(place, "commit", 2)
    worker = shop(place, "work")

    assert (rolled_back.returncode, rolled_back.stderr) == (3, "")
    assert (committed.returncode, committed.stderr) == (0, "")
    assert (worker.returncode, worker.stderr, worker.stdout) == (0, "", "2\n")
    assert place.query(f"SELECT number FROM {place.schema}.orders") == [(2,)]  # noqa: S608 - ours
    assert place.query(f"SELECT state FROM {place.schema}.task") == [(5,)]  # noqa: S608 - ours
