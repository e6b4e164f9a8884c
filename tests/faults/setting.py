"""What the tests and their worker processes share: tasks, settings, ledger, what is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import attrs

from layered.worker.builder import SettingsChange

Loop = Literal["asyncio", "trio"]
LOOPS: tuple[Loop, ...] = ("asyncio", "trio")

TASKS = int(os.environ.get("FAULT_TASKS", "1000"))
"""Tasks of each scenario: the short form runs in CI, `make faults` takes 10,000."""


@attrs.frozen
class Unit:
    """
    A task for an async handler.

    Args:
        number: Stands in the ledger; one for each task.
        deed: What the handler does, see `tests.faults.deeds`.
        seconds: How long, where that has a length.
    """

    number: int
    deed: str = "wait"
    seconds: float = 0.0


@attrs.frozen
class PlainUnit:
    """The same for a plain function, which runs in a thread."""

    number: int
    deed: str


@attrs.frozen
class Setting:
    """
    What a worker process is told, as JSON.

    Args:
        folder: Where the store, the ledger and the gate are.
        loop: The event loop.
        dsn: Of the PostgreSQL server; by default the store is a file in *folder*.
        schema: Of the store on that server.
        notify: Whether that storage listens for NOTIFY.
        storage: The class of the storage, ``module:Class``, if not the plain one.
        numbers: For `WorkerBuilder.configure`.
        one_by_one: Claim only when nothing at all is in flight.
        tell: Names of the events to write to standard output; changes of state always are.
        program: The module that is run.
        timeout: Seconds for each attempt; 0 for no limit.
        deadline: Seconds for each run; 0 for no limit.
        memory: Most bytes of address space; 0 for no limit.
        file_size: Most bytes of a file; the process is killed amid the write that goes beyond.
            0 for no limit.
        disk: A folder in *folder* for the store alone.
        push: For `tests.faults.producer`: from which number to push, and up to which.
    """

    folder: str
    loop: Loop = "asyncio"
    dsn: str = ""
    schema: str = ""
    notify: bool = False
    storage: str = ""
    numbers: SettingsChange = attrs.field(factory=SettingsChange)
    one_by_one: bool = False
    tell: tuple[str, ...] = ("TaskEnded", "TaskReaped", "TaskStale")
    program: str = "tests.faults.program"
    timeout: float = 0.0
    deadline: float = 0.0
    memory: int = 0
    file_size: int = 0
    disk: str = ""
    push: tuple[int, int] = (0, 0)

    @property
    def database(self) -> Path:
        """The store's file."""
        return Path(self.folder, self.disk, "tasks.db")


@attrs.frozen
class Told:
    """An event, as a worker process writes it: *what* is the name of its class."""

    what: str
    task: str = ""
    status: str = ""


class Line(NamedTuple):
    """One effect in the ledger: which task, in which attempt, in which process."""

    number: int
    attempt: int
    pid: int


class Ledger:
    """The effects, outside of the store: a file that each worker appends to."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._path = self._folder / "ledger"
        self._file = -1

    def gate(self, attempt: int) -> Path:
        """Name the file for which handlers wait in this attempt, if they do."""
        return self._folder / f"gate{attempt}"

    def add(self, number: int, attempt: int) -> None:
        """Add an effect, in one write, so that lines of several processes never mix."""
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._file, f"{number} {attempt} {os.getpid()}\n".encode())

    def lines(self) -> list[Line]:
        """Read all effects, in the order in which they came."""
        if not self._path.exists():
            return []
        return [Line(*map(int, line.split())) for line in self._path.read_text().splitlines()]
