"""The store under test: pushed to through layered, looked at with SQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import attrs
from anyio.from_thread import BlockingPortal
from typing_extensions import Unpack

from layered import Status, Storage
from layered.backend import Claimant, Limits
from layered.backend.options import PushOptions
from tests.faults.setting import Ledger, PlainUnit, Setting, Unit

SLACK = 2.0
"""Seconds by which a busy machine may be late."""


@attrs.define
class Store(ABC):
    """
    A store, and the ledger beside it.

    Both backends name tables and columns alike, so most questions to them are the same; `audit`
    counts each write of state done, also one that finds the task done already, and each reaping.
    `numbers` has the id of each task pushed, by its number.
    """

    modules: ClassVar[Sequence[str]]
    """Where storages with faults are found."""

    folder: Path
    storage: Storage[Unit | PlainUnit]
    portal: BlockingPortal
    ledger: Ledger
    numbers: dict[int, str] = attrs.field(factory=dict, init=False)

    @abstractmethod
    def setting(self, **rest: Any) -> Setting:
        """Make the setting of a worker process for this store."""

    @abstractmethod
    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Answer the rows of a query, with ``?`` where a value belongs."""

    @abstractmethod
    def stuck(self) -> list[str]:
        """
        Name the tasks that run although their lease ended two lease periods ago, and `SLACK` more.

        This is the check that a store which does not reap must not pass.
        """

    @abstractmethod
    def locked(self) -> bool:
        """Whether some process keeps others from writing."""

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Keep others from writing."""

    @abstractmethod
    def damage(self) -> list[str]:
        """Say what is not as it was written."""

    @abstractmethod
    def size(self) -> int:
        """Measure what the tasks take up, in bytes."""

    @abstractmethod
    def reaped_from(self, pid: int) -> int:
        """Count the reapings that took a task from a process."""

    def named(self, name: str) -> str:
        """Find the storage with a fault of this backend that has this name."""
        for module in self.modules:
            if hasattr(import_module(module), name):
                return f"{module}:{name}"
        raise LookupError(name)

    def push(self, units: Sequence[Unit | PlainUnit], **options: Unpack[PushOptions]) -> None:
        """Push tasks, in one write."""

        async def push() -> None:
            answers = await self.storage.push_many(units, **options)
            self.numbers.update(
                (unit.number, answer.id) for unit, answer in zip(units, answers, strict=True)
            )

        self.portal.call(push)

    def claim_for_nobody(self, most: int, lease: float) -> int:
        """Claim as a worker that is never heard of again; answer how many."""
        claimant = Claimant("default", "ghost/nowhere/0/0", lease)

        async def claim() -> int:
            return len((await self.storage.claim(claimant, {"Unit": most}, most)).leases)

        return self.portal.call(claim)

    def count(self, sql: str, *values: object) -> int:
        """Answer the number that a query answers."""
        ((number,),) = self.query(sql, *values)
        return int(number)

    def states(self) -> Counter[str]:
        """Count the tasks by state."""
        rows = self.query("SELECT state, count(*) FROM task GROUP BY state")
        return Counter({Status(state).label: number for state, number in rows})

    def live(self) -> int:
        """Count the tasks that have not ended."""
        return self.count("SELECT count(*) FROM task WHERE state < 5")

    def held_by(self, pid: int) -> int:
        """Count the leases of a process, by the owner: name/host/pid/uuid."""
        return self.count(
            "SELECT count(*) FROM task WHERE state = 4 AND owner LIKE ?", f"%/%/{pid}/%"
        )

    def reaped(self) -> int:
        """Count the reapings so far."""
        return self.count("SELECT count(*) FROM audit WHERE what = 'reaped'")

    def done(self) -> int:
        """Count the tasks that are done."""
        return self.count("SELECT count(*) FROM task WHERE state = 5")

    def runs(self) -> Counter[int]:
        """Count the runs that left an effect in the ledger, by the task's number."""
        return Counter(line.number for line in self.ledger.lines())

    def row(self, number: int) -> Row:
        """Read a task."""
        return self.rows()[number]

    def rows(self) -> dict[int, Row]:
        """Read all tasks that were pushed and are still there, by number."""
        found = {
            task: Row(Status(state).label, *rest)
            for task, state, *rest in self.query("SELECT id, state, attempt, lost, epoch FROM task")
        }
        return {number: found[task] for number, task in self.numbers.items() if task in found}

    def lost(self) -> list[int]:
        """Number the tasks that were accepted and have not ended, or are gone."""
        ended = {n for n, row in self.rows().items() if row.state in {"done", "dead"}}
        return sorted(self.numbers.keys() - ended)

    def not_done_once(self) -> list[str]:
        """
        Name every task that is not done by exactly one write.

        This is the check that a store without fences must not pass.
        """
        wrong = []
        audit = dict(
            self.query("SELECT task, count(*) FROM audit WHERE what = 'done' GROUP BY task")
        )
        rows = self.rows()
        for number, task in self.numbers.items():
            state = rows[number].state if number in rows else "gone"
            writes = audit.get(task, 0)
            if (state, writes) != ("done", 1):
                wrong.append(f"task {number} is {state}, by {writes} writes")
        undone = self.count("SELECT count(*) FROM audit WHERE what = 'undone'")
        return wrong + ([f"{undone} tasks were done and did not stay so"] if undone else [])

    def run_too_often(self, forgotten: int = 0) -> list[int]:
        """
        Number the tasks that ran more often than their lost workers explain.

        Args:
            forgotten: How many claims of a task the store may have forgotten.
        """
        rows, runs = self.rows(), self.runs()
        return [number for number, row in rows.items() if runs[number] > 1 + row.lost + forgotten]


class Opening(Protocol):
    """Makes a store of the backend at hand, empty, with its audit."""

    def __call__(self, *, limits: Limits | None = None) -> AbstractContextManager[Store]:
        """Open it, and in the end remove what is not in the test's folder."""
        ...


@attrs.frozen
class Row:
    """What the store knows of a task: `epoch` is the number of its claims."""

    state: str
    attempt: int
    lost: int
    epoch: int
