"""The storages that the conformance cases run on: a new backend is one line in `STORAGES`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from layered.backend import Limits, Storage
from layered.backends.memory import MemoryStorage
from layered.backends.sqlite import SqliteStorage
from layered.task import Kind
from tests.conformance.harness import Clock

KINDS = (Kind(str, name="a"), Kind(int, name="b"))

Make: TypeAlias = Callable[[Path, Clock, Limits], Storage[Any]]

STORAGES: dict[str, Make] = {
    "memory": lambda _, now, limits: MemoryStorage(KINDS, limits=limits, now=now),
    "sqlite": lambda path, now, limits: SqliteStorage(
        path / "tasks.db", KINDS, limits=limits, now=now
    ),
}
