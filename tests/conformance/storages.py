"""The backends that the conformance rules run on: a new one is one line in `BACKENDS`."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from layered.backends.memory import MemoryStorage
from layered.backends.sqlite import SqliteStorage
from layered.task import new_id
from layered.testing.conformance.backend import Make

InFolder: TypeAlias = Callable[[Path], Make]

BACKENDS: dict[str, InFolder] = {
    "memory": lambda _: lambda now, limits: MemoryStorage(str, limits=limits, now=now),
    "sqlite": lambda folder: (
        lambda now, limits: SqliteStorage(folder / f"{new_id()}.db", str, limits=limits, now=now)
    ),
}
