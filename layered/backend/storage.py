"""`Storage`: the typed client that every backend shares — push, get, wait for."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar

import anyio
from opentelemetry.context import get_current
from typing_extensions import TypedDict, Unpack

from layered.backend.contract import Backend
from layered.backend.types import Limits, Pushed, Record
from layered.errors import PushRefused
from layered.service import Service, Stack
from layered.service.layer import LayerLike
from layered.task import Draft, Kind, Kinds, Run, Task, checked_id, checked_name, new_id, to_micros
from layered.telemetry import inject

if TYPE_CHECKING:
    from uuid import UUID

    from typing_extensions import TypeForm

A = TypeVar("A")

_INSTANTS: tuple[Literal["at"], Literal["expires_at"]] = ("at", "expires_at")

ArgsLike: TypeAlias = "TypeForm[A] | Kind[A] | tuple[Kind[Any], ...]"
"""What a storage holds: a type, a union of types, or kinds."""


class PushOptions(TypedDict, total=False):
    """
    What may be said of a task when it is pushed.

    id: A UUID of your choice; pushing the same id again stores nothing.
    delay: Seconds (or `timedelta`) until it is due, by the store's clock.
    at: An aware instant at which it is due; wins over *delay*.
    expires_at: An aware instant after which it must not start any more.
    priority: 0 to 9, higher first; default 5.
    max_attempts: Upper bound of runs, whatever the retry policy says.
    max_lost: Runs that may end with a lost worker before it is dead; default 3.
    metadata: Small text values that travel with the task.
    """

    id: str | UUID
    delay: float | timedelta
    at: datetime
    expires_at: datetime
    priority: int
    max_attempts: int
    max_lost: int
    metadata: Mapping[str, str]


class Storage(Backend, Generic[A]):
    """
    A backend with its typed client.

    Use it as ``async with``; `push` from anywhere in the program, and give
    it to `WorkerBuilder.backend`. Several storages with different types
    may share a database: a worker claims only the names that it handles.

    Args:
        args: The type of the arguments, a union of types, or kinds.
        queue: The queue to push to and to claim from.
        layers: The stack around `push`, outermost first; the request is
            the `Task` before encoding, the response `Pushed`.
        limits: Sizes and retention.

    Raises:
        PushRefused: if a name is no name, or two types have the same.
        TypeError: if the codec cannot carry a type.
        BuildError: if something in *layers* is no layer.
    """

    def __init__(
        self,
        args: ArgsLike[A],
        queue: str,
        layers: Sequence[LayerLike],
        limits: Limits,
    ) -> None:
        super().__init__()
        self.kinds: Kinds[A] = Kinds(args)
        self.queue = checked_name("queue", queue)
        self.limits = limits
        self.layers = tuple(layers)
        self._push: Service[Task[A], Pushed] = Stack(*layers).layer(_Insert(self))

    async def push(self, args: A, **options: Unpack[PushOptions]) -> Pushed:
        """
        Store one task; it runs at least once, once it is due.

        Options: see `PushOptions`.

        Returns:
            Its id, and whether a task of that id was there already.

        Raises:
            PushRefused: if an argument, an option or the size is wrong; nothing was stored.
            Full: if the store has no room; nothing was stored.
            Transient: if the store cannot be reached; pushing again with
                the same *id* is safe.

        Cancellation:
            Stored wholly or not at all; with an *id* of your own you can
            push again without harm.
        """
        kind = self.kinds.of(args)
        task = Task(args, Run(self._draft(kind, options)))
        if self.layers:
            return await self._push.call(task)
        return (await self.insert([self._encoded(task, kind)]))[0]

    async def push_many(
        self, many: Iterable[A], **options: Unpack[PushOptions]
    ) -> Sequence[Pushed]:
        """
        Store many tasks in one write, all or nothing; options as in `push`, but no *id*.

        A storage with layers sends each task through them, so there it is
        one write per task, and those before a failure stay stored.

        Raises:
            As `push`; without layers one refusal refuses all.
        """
        if "id" in options:
            msg = "push_many takes no 'id': every task needs its own; use push(..., id=...)"
            raise PushRefused(msg)
        kinds = [(one, self.kinds.of(one)) for one in many]
        tasks = [(Task(one, Run(self._draft(kind, options))), kind) for one, kind in kinds]
        if self.layers:
            return [await self._push.call(task) for task, _ in tasks]
        return await self.insert([self._encoded(task, kind) for task, kind in tasks])

    async def get(self, task_id: str | UUID, /) -> Record | None:
        """Read one task; `None` if there is none (any more)."""
        return (await self.fetch([checked_id(task_id)]))[0]

    async def wait_for(
        self, ids: Iterable[str | UUID], /, timeout: float | None = None
    ) -> Sequence[Record]:
        """
        Wait until all these tasks have ended.

        Args:
            ids: Task ids.
            timeout: Seconds to wait; `None` for no limit.

        Returns:
            Their records, in order.

        Raises:
            KeyError: if one is not there (never pushed, or its tombstone is gone).
            TimeoutError: if they have not ended in time.

        Cancellation:
            At any point, at no cost.
        """
        wanted = [checked_id(one) for one in ids]
        with anyio.fail_after(timeout):
            while True:
                changed = anyio.Event()
                with self.ended.listening(changed.set):
                    records = await self.fetch(wanted)
                    found = [record for record in records if record is not None]
                    if len(found) < len(wanted):
                        missing = wanted[records.index(None)]
                        msg = f"waiting for task {missing}: the store has no such task"
                        raise KeyError(msg)
                    if all(record.status.is_terminal for record in found):
                        return found
                    with anyio.move_on_after(self.poll):
                        await changed.wait()

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open the storage; create or migrate what it needs."""

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the storage; what was accepted is stored by then."""

    def _draft(self, kind: Kind[Any], options: PushOptions) -> Draft:
        if not options:
            return Draft(new_id(), self.queue, kind.name, b"", kind.codec.name, kind.version, {})
        return _checked_draft(kind, self.queue, options)

    def _encoded(self, task: Task[Any], kind: Kind[Any]) -> Draft:
        draft = task.run.record
        if not isinstance(draft, Draft):
            msg = f"pushing {task!r}: it was claimed by a worker; push its arguments instead"
            raise PushRefused(msg)
        try:
            payload = kind.encode(task.args)
        except Exception as error:
            msg = f"encoding the arguments of task {kind.name!r} failed: {error}"
            raise PushRefused(msg) from error
        if len(payload) > self.limits.payload:
            msg = (
                f"pushing task {kind.name!r}: its arguments take {len(payload)} bytes, the limit "
                f"is {self.limits.payload}; store large data elsewhere and push a reference"
            )
            raise PushRefused(msg)
        if get_current():
            inject(draft.metadata)
        return draft._replace(payload=payload)


class _Insert(Service[Task[Any], Pushed]):
    """The innermost service of the push stack: encode and store."""

    __slots__ = ("_storage",)

    def __init__(self, storage: Storage[Any]) -> None:
        self._storage = storage

    async def call(self, request: Task[Any], /) -> Pushed:
        storage = self._storage
        draft = storage._encoded(request, storage.kinds.of(request.args))
        return (await storage.insert([draft]))[0]


def _checked_draft(kind: Kind[Any], queue: str, options: PushOptions) -> Draft:
    where = f"pushing task {kind.name!r}: "
    if unknown := options.keys() - PushOptions.__annotations__.keys():
        known = ", ".join(sorted(PushOptions.__annotations__))
        msg = f"{where}unknown option {sorted(unknown)[0]!r}; known are {known}"
        raise PushRefused(msg)
    delay = options.get("delay", 0.0)
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    priority = options.get("priority", 5)
    max_attempts, max_lost = options.get("max_attempts"), options.get("max_lost", 3)
    metadata = dict(options.get("metadata", {}))
    rules = (
        ("delay", seconds, math.isfinite(seconds) and seconds >= 0, "0 or more seconds"),
        ("priority", priority, priority in range(10), "0 to 9"),
        ("max_attempts", max_attempts, max_attempts is None or max_attempts >= 1, "1 or more"),
        ("max_lost", max_lost, max_lost >= 1, "1 or more"),
        (
            "metadata",
            metadata,
            all(isinstance(text, str) for pair in metadata.items() for text in pair),
            "a mapping of text to text",
        ),
    )
    for option, got, holds, wanted in rules:
        if not holds:
            msg = f"{where}{option} must be {wanted}, got {got!r}"
            raise PushRefused(msg)
    try:
        task_id = checked_id(options["id"]) if "id" in options else new_id()
        for instant in _INSTANTS:
            if instant in options:
                to_micros(options[instant])
    except ValueError as error:
        msg = f"{where}{error}"
        raise PushRefused(msg) from error
    return Draft(
        id=task_id,
        queue=queue,
        name=kind.name,
        payload=b"",
        codec=kind.codec.name,
        version=kind.version,
        metadata=metadata,
        priority=priority,
        delay=seconds,
        at=options.get("at"),
        expires_at=options.get("expires_at"),
        max_attempts=max_attempts,
        max_lost=max_lost,
    )
