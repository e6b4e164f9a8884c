"""One prepared file for all failpoints of SQLite, and the wire under its copies."""

import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path

import anyio
import pytest

from layered.backends.sqlite import connection, writer

pytest.register_assert_rewrite("tests.failpoints.sqlite_bench")
from tests.failpoints.sqlite_bench import Bench, Prepared, prepared  # noqa: E402 - see above
from tests.failpoints.sqlite_wire import Wire  # noqa: E402 - see above


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Give a file with the tasks of `prepare`."""
    return anyio.run(prepared, tmp_path_factory.mktemp("failpoints") / "template.db")


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Give the wire that all connections of this test run through; who is locked waits briefly."""
    wire = Wire()
    monkeypatch.setattr(sqlite3, "connect", wire.connect)
    monkeypatch.setattr(writer, "BUSY", 0.01)
    monkeypatch.setattr(connection, "BUSY", 0.01)
    return wire


@pytest.fixture
def bench(template: Prepared, wire: Wire, tmp_path: Path) -> Callable[[], Bench]:
    """Give a maker of storages, each of a fresh copy of the prepared file."""
    numbers = count()
    return lambda: template.copy(tmp_path / f"{next(numbers)}.db", wire)
