"""`WorkerBuilder`: from a backend, layers and data to a `Worker`."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import filterfalse
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import attrs
from typing_extensions import TypedDict, Unpack

from layered.backend import Storage
from layered.errors import BuildError
from layered.handler import Router, Setting, compile_handler
from layered.layers.concurrency import ConcurrencyLimitLayer
from layered.layers.retry import RetryLayer
from layered.layers.timeout import TimeoutLayer
from layered.layers.tracing import TracingLayer
from layered.service import HasCall, LayerLike, Service, Stack
from layered.service.layer import flattened, layer_problem, repeated
from layered.task import Task, checked_name
from layered.worker.events import Listener
from layered.worker.plan import Plan
from layered.worker.settings import Settings
from layered.worker.worker import Worker

if TYPE_CHECKING:
    from typing import Self

A = TypeVar("A")
R = TypeVar("R")
P = ParamSpec("P")


class TaskLayer(Protocol[A]):
    """A layer around tasks of one type of arguments; every general `Layer` is one."""

    def layer(self, inner: Service[Task[A], R], /) -> Service[Task[A], R]:
        """Put a new service around *inner*."""
        ...


class TaskWraps(Protocol[A]):
    """A callable that puts a service around another without changing its types."""

    def __call__(self, inner: Service[Task[A], R], /) -> Service[Task[A], R]:
        """Put a new service around *inner*."""
        ...


class SettingsChange(TypedDict, total=False):
    """Numbers of a worker to change; see `Settings`."""

    lease: float
    batch: int
    concurrency: int
    grace: float
    cancel_grace: float
    teardown_timeout: float


class WorkerBuilder:
    """
    The start of a worker: its name.

    Args:
        name: For logs, spans and the owner's id; workers may share one.

    Raises:
        PushRefused: if *name* is empty, too long or has control characters.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = checked_name("worker name", name)

    def backend(self, backend: Storage[A], /) -> Builder[A]:
        """
        Say where the tasks come from; everything else follows on the answer.

        Raises:
            BuildError: if *backend* is no storage.
        """
        if not isinstance(backend, Storage):
            subject = f"worker {self.name!r}"
            problem = f"{backend!r} is no storage; pass an object such as MemoryStorage(Email)"
            raise BuildError(subject, [problem])
        return Builder(self.name, backend)

    def __repr__(self) -> str:
        """Show the name."""
        return f"WorkerBuilder({self.name!r})"


@attrs.frozen(eq=False)
class Builder(Generic[A]):
    """
    Collects what makes a worker; every method answers a new builder.

    The first layer added is the outermost. Mistakes are collected and
    raised together by `build`.
    """

    _name: str
    _backend: Storage[A]
    _layers: tuple[LayerLike, ...] = ()
    _data: tuple[object, ...] = ()
    _settings: Settings = attrs.field(factory=Settings)
    _deadline: float | None = None
    _listeners: tuple[Listener, ...] = ()

    def data(self, value: object, /) -> Self:
        """Provide *value* to parameters annotated ``Data[type(value)]``; one per type."""
        return attrs.evolve(self, data=(*self._data, value))

    def layer(self, layer: TaskLayer[A] | TaskWraps[A], /) -> Self:
        """
        Add a layer inside those added so far.

        Args:
            layer: A layer, a `Stack` of them, or a callable from service to service, such as
                a `Middleware` subclass or a `functools.partial` of one.
        """
        return attrs.evolve(self, layers=(*self._layers, *flattened(layer)))

    def retry(self, runs: int, /) -> Self:
        """Add ``RetryLayer(runs)``: at most so many runs, 1 or more."""
        return self.layer(RetryLayer(runs))

    def timeout(self, seconds: float | timedelta, /) -> Self:
        """Add ``TimeoutLayer(seconds)``: a limit for each attempt."""
        return self.layer(TimeoutLayer(_in_seconds(seconds)))

    def concurrency(self, most: int, /) -> Self:
        """Add ``ConcurrencyLimitLayer(most)``: at most so many at once."""
        return self.layer(ConcurrencyLimitLayer(most))

    def tracing(self) -> Self:
        """Add ``TracingLayer()``: an OpenTelemetry span for each run."""
        return self.layer(TracingLayer())

    def deadline(self, seconds: float | timedelta, /) -> Self:
        """
        Limit a whole task, waits and retries inside one claim included.

        Checked by the worker, outside the stack; a task past it is dead
        (`DeadlineExceeded`).
        """
        return attrs.evolve(self, deadline=_in_seconds(seconds))

    def on_event(self, listener: Listener, /) -> Self:
        """
        Have *listener* called with every event.

        An async function is called in the loop, a plain one in a thread.
        """
        return attrs.evolve(self, listeners=(*self._listeners, listener))

    def configure(self, **changes: Unpack[SettingsChange]) -> Self:
        """
        Change numbers such as ``lease=2.0``; see `Settings`.

        Raises:
            ValueError: if one is out of range.
        """
        return attrs.evolve(self, settings=attrs.evolve(self._settings, **changes))

    @overload
    def build(self, handler: Router[A], /) -> Worker[A, object]: ...
    @overload
    def build(self, handler: Service[Task[A], R], /) -> Worker[A, R]: ...
    @overload
    def build(self, handler: HasCall[Task[A], R], /) -> Worker[A, R]: ...
    @overload
    def build(self, handler: Callable[Concatenate[A, P], Awaitable[R]], /) -> Worker[A, R]: ...
    @overload
    def build(self, handler: Callable[Concatenate[A, P], R], /) -> Worker[A, R]: ...
    def build(self, handler: Any, /) -> Worker[A, Any]:
        """
        Check everything, resolve every parameter, and make the worker.

        Args:
            handler: An async function, a plain function (run in a thread),
                a service, an object with `call`, or a `Router`.

        Raises:
            BuildError: with *all* problems found, each with its way out;
                nothing was started.
        """
        problems: list[str] = []
        concurrency = self._concurrency()
        setting = Setting(
            data=self._provided(problems),
            threads=concurrency,
            teardown_timeout=self._settings.teardown_timeout,
        )
        problems += self._unfit()
        problems += [text for layer in self._layers if (text := layer_problem(layer))]
        problems += repeated(self._layers)
        compiled = compile_handler(handler, self._backend.kinds, setting, problems)
        if problems or compiled is None:
            subject = f"worker {self._name!r}"
            raise BuildError(subject, problems)
        service = Stack(*self._layers).layer(compiled.service)
        capacity = service.capacity()
        return Worker(
            Plan(
                name=self._name,
                backend=self._backend,
                service=service,
                handler=compiled,
                layers=self._layers,
                settings=self._settings,
                deadline=self._deadline,
                concurrency=concurrency if capacity == sys.maxsize else max(capacity, concurrency),
                listeners=self._listeners,
            )
        )

    def _unfit(self) -> list[str]:
        """Say what is wrong with the deadline and the listeners."""
        unfit = [
            f"on_event() got {listener!r}, which cannot be called; pass a function of an event"
            for listener in filterfalse(callable, self._listeners)
        ]
        limit: Any = self._deadline
        if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
            unfit.append(
                f"the deadline must be more than 0 seconds and finite, got {limit!r}; "
                "leave it out for none"
            )
        return unfit

    def _concurrency(self) -> int:
        """Answer the tightest limit among the layers; without one, the setting."""
        limits = [layer.most for layer in self._layers if isinstance(layer, ConcurrencyLimitLayer)]
        return min(limits, default=self._settings.concurrency)

    def _provided(self, problems: list[str]) -> dict[type, object]:
        provided: dict[type, object] = {}
        for value in self._data:
            kind = type(value)
            if kind in provided:
                problems.append(
                    f"two values of {kind.__name__} were provided with WorkerBuilder.data(...); "
                    "provide one, or wrap one of them in a type of its own"
                )
            provided[kind] = value
        return provided


def check(handler: Any, storage: Storage[Any], /, *data: object) -> None:  # noqa: ANN401 - as `build`
    """
    Check that *handler* fits *storage*, without a worker.

    Args:
        handler: As for `Builder.build`.
        storage: The storage that would be claimed from.
        data: The values that would be provided with `Builder.data`.

    Raises:
        BuildError: with all problems found.
    """
    builder: Builder[Any] = WorkerBuilder("check").backend(storage)
    for value in data:
        builder = builder.data(value)
    builder.build(handler)


def _in_seconds(span: float | timedelta) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else span
