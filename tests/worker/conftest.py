"""A small world for worker tests: a storage, a worker, and what the worker told."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs
import pytest

from layered import MemoryStorage, Status, Worker, WorkerBuilder
from layered.worker import TaskEnded
from layered.worker.builder import Builder


@attrs.frozen
class Email:
    """What the tests push."""

    to: str = "ada@example.org"


@attrs.define
class World:
    """One storage, and all events of its workers."""

    storage: MemoryStorage[Email]
    events: list[Any]

    def builder(self, **settings: Any) -> Builder[Email]:
        """Start a worker; its events end in `events`."""

        async def note(event: object) -> None:
            self.events.append(event)

        builder = WorkerBuilder("tests").backend(self.storage).on_event(note)
        return builder.configure(**settings)

    async def statuses(self, *ids: str) -> list[Status]:
        """Read the states of tasks."""
        records = [await self.storage.get(one) for one in ids]
        return [record.status for record in records if record is not None]

    @property
    def ended(self) -> list[TaskEnded]:
        """What the worker told of ended runs."""
        return [event for event in self.events if isinstance(event, TaskEnded)]


@pytest.fixture
def world() -> World:
    """Give a world on memory."""
    return World(MemoryStorage(Email), [])


async def while_running(worker: Worker[Any, Any], *, do: Callable[[], Awaitable[object]]) -> None:
    """Run *worker* while *do* acts, then drain it."""
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await anyio.lowlevel.checkpoint()
        await do()
        worker.context.stop()
