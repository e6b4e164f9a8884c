"""`Storage`: the typed client that every backend shares — push, get, wait for."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar, overload

import anyio
from opentelemetry.context import get_current
from typing_extensions import TypedDict, Unpack

from layered.backend.contract import Backend
from layered.backend.control import Dedups
from layered.backend.options import PushOptions, check_many, checked_draft, without_dedups
from layered.backend.results import Returned, decoder, result_of, unknown
from layered.backend.types import Limits, Pushed, Record
from layered.errors import PushRefused
from layered.service import Service, Stack
from layered.service.layer import LayerLike
from layered.task import Draft, Kind, Kinds, Run, Task, checked_id, checked_name, new_id
from layered.telemetry import inject

if TYPE_CHECKING:
    from uuid import UUID

    from typing_extensions import TypeForm

A = TypeVar("A")
R = TypeVar("R")

_LOOK = 1.0
"""Most seconds between looks at tasks that are waited for: other processes' ends give no hint."""

Form: TypeAlias = "TypeForm[A]"
"""What a storage holds: a type, or a union of types."""

KindsLike: TypeAlias = "Kind[A] | tuple[Kind[Any], ...]"
"""What a storage holds: kinds. Not one alias with `Form`: mypy reads no ``Email | Sms`` there."""

ArgsLike: TypeAlias = "Form[A] | KindsLike[A]"


class StorageOptions(TypedDict, total=False):
    """What every storage takes besides; its own constructor says what each is."""

    queue: str
    layers: Sequence[LayerLike]
    limits: Limits | None
    now: Callable[[], float] | None


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
        TypeError: if the codec cannot carry a type, or *layers* is no list.
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
        if not isinstance(layers, Iterable):
            msg = f"{type(self).__name__}: 'layers' must be a list, got {layers!r}; put it in one"
            raise TypeError(msg)
        self.layers = tuple(layers)
        self._push: Service[Task[A], Pushed] = Stack(*self.layers).layer(_Insert(self))

    async def push(self, args: A, **options: Unpack[PushOptions]) -> Pushed:
        """
        Store one task; it runs at least once, once it is due.

        Options: see `layered.backend.PushOptions`: when it is due, until
        when it may start, its priority, its id, and more.

        Returns:
            Its id, and whether a task of that id was there already.

        Raises:
            PushRefused: if an argument, an option or the size is wrong; nothing was stored.
            Conflict: if another task holds the key of *dedup*, which says `OnConflict.REJECT`.
            Full: if the store has no room; nothing was stored.
            Transient: if the store cannot be reached; pushing again with
                the same *id* is safe.

        Cancellation:
            Stored wholly or not at all; with an *id* of your own you can
            push again without harm.
        """
        if self.layers:
            return await self._push.call(self._task(args, options))
        return (await self.insert([self._drafted(args, options)]))[0]

    async def push_many(
        self, many: Iterable[A], **options: Unpack[PushOptions]
    ) -> Sequence[Pushed]:
        """
        Store many tasks in one write, all or nothing; options as in `push`, but no *id* or *dedup*.

        A storage with layers sends each task through them, so there it is
        one write per task, and those before a failure stay stored.

        Raises:
            As `push`; without layers one refusal refuses all.
        """
        check_many(options)
        if self.layers:
            tasks = [self._task(one, options) for one in many]
            return [await self._push.call(task) for task in tasks]
        return await self.insert([self._drafted(one, options) for one in many])

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
        if isinstance(ids, str) or not isinstance(ids, Iterable):
            msg = f"waiting for tasks: got {ids!r}; pass a list of ids, such as [pushed.id]"
            raise TypeError(msg)
        wanted = [checked_id(one) for one in ids]
        with anyio.move_on_after(math.inf if timeout is None else timeout):
            return await self._ended(wanted)
        which = f"task {wanted[0]}" if len(wanted) == 1 else f"{len(wanted)} tasks"
        msg = f"waiting for {which}: not ended within {timeout:g} s; is a worker running?"
        raise TimeoutError(msg)

    @overload
    async def result(
        self, task_id: str | UUID, of: TypeForm[R], /, timeout: float | None = None
    ) -> R: ...
    @overload
    async def result(
        self,
        task_id: str | UUID,
        of: Callable[..., Awaitable[Returned[R]]],
        /,
        timeout: float | None = None,
    ) -> R: ...
    @overload
    async def result(
        self, task_id: str | UUID, of: Callable[..., Returned[R]], /, timeout: float | None = None
    ) -> R: ...
    async def result(self, task_id: str | UUID, of: Any, /, timeout: float | None = None) -> Any:
        """
        Wait until a task has ended, and answer its result.

        Args:
            task_id: The task.
            of: Its handler, for what that is annotated to return; or a type.
            timeout: Seconds to wait; `None` for no limit.

        Raises:
            NotDone: if it is dead or cancelled; has its last error.
            DecodeFailed: if its result does not fit, or is not kept any more.
            TypeError: if *of* gives no type.
            As `wait_for`.
        """
        decode = decoder(of)
        (record,) = await self.wait_for([task_id], timeout)
        return result_of(record, decode)

    async def _ended(self, wanted: Sequence[str]) -> Sequence[Record]:
        while True:
            changed = anyio.Event()
            with self.ended.listening(changed.set):
                records = await self.fetch(wanted)
                found = [record for record in records if record is not None]
                if len(found) < len(wanted):
                    raise unknown(wanted[records.index(None)], "waiting for")
                if all(record.status.is_terminal for record in found):
                    return found
                with anyio.move_on_after(min(self.poll, _LOOK)):
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

    def _draft(self, kind: Kind[Any], options: PushOptions, payload: bytes) -> Draft:
        if options:
            if "dedup" in options and not isinstance(self, Dedups):
                raise without_dedups(kind, self)
            return checked_draft(kind, self.queue, options)._replace(payload=payload)
        return Draft(new_id(), self.queue, kind.name, payload, kind.codec.name, kind.version, {})

    def _task(self, args: A, options: PushOptions) -> Task[A]:
        """Make the request of the push stack, its arguments not yet encoded."""
        return Task(args, Run(self._draft(self.kinds.of(args), options, b"")))

    def _drafted(self, args: A, options: PushOptions) -> Draft:
        """Make what is stored, without a request: for storages without layers."""
        kind = self.kinds.of(args)
        draft = self._draft(kind, options, self._payload(kind, args))
        if get_current():
            inject(draft.metadata)
        return draft

    def encoded(self, task: Task[Any]) -> Draft:
        """
        Encode a task that is being pushed; the innermost step of the push stack.

        Raises:
            PushRefused: if its arguments do not encode, or are too large.
        """
        draft = task.run.record
        if not isinstance(draft, Draft):
            msg = f"pushing {task!r}: it was claimed by a worker; push its arguments instead"
            raise PushRefused(msg)
        payload = self._payload(self.kinds.of(task.args), task.args)
        if get_current():
            inject(draft.metadata)
        return draft._replace(payload=payload)

    async def insert_one(self, task: Task[Any], /) -> Pushed:
        """Encode and store a task that has come through the push stack."""
        return (await self.insert([self.encoded(task)]))[0]

    def _payload(self, kind: Kind[Any], args: object) -> bytes:
        try:
            payload = kind.encode(args)
        except Exception as error:
            msg = f"encoding the arguments of task {kind.name!r} failed: {error}"
            raise PushRefused(msg) from error
        if len(payload) > self.limits.payload:
            msg = (
                f"pushing task {kind.name!r}: its arguments take {len(payload)} bytes, the limit "
                f"is {self.limits.payload}; store large data elsewhere and push a reference"
            )
            raise PushRefused(msg)
        return payload


class _Insert(Service[Task[Any], Pushed]):
    """The innermost service of the push stack: encode and store."""

    __slots__ = ("_storage",)

    def __init__(self, storage: Storage[Any]) -> None:
        self._storage = storage

    async def call(self, request: Task[Any], /) -> Pushed:
        return await self._storage.insert_one(request)
