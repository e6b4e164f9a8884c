"""
`TracingLayer`: an OpenTelemetry span for each run of a task, and for each push.

Source: OpenTelemetry semantic conventions for messaging spans, 1.44.0; see
`layered.telemetry.names`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar, Literal, TypeVar

import attrs
from opentelemetry import baggage
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from layered.errors import Abort, BuildError, DeadlineExceeded, Outcome, RetryAfter
from layered.service import Middleware, Service
from layered.task import CancelReason, Task
from layered.telemetry import extract, find_tracer, inject, names

A = TypeVar("A")
Req = TypeVar("Req")
Res = TypeVar("Res")
Relation = Literal["parent", "link"]


class Tracing(Middleware[Req, Res]):
    """Makes spans around runs and pushes; made by `TracingLayer`."""

    __slots__ = ("_tracer", "layer")

    def __init__(self, layer: TracingLayer, inner: Service[Req, Res], /) -> None:
        super().__init__(inner)
        self.layer = layer
        self._tracer: Tracer | None = None
        self._look_for_tracer()

    def call(self, request: Req, /) -> Awaitable[Res]:
        """
        Call the inner service in a span of its own.

        Cancellation:
            Passes through; the span ends, its status unset.
        """
        # Asking the API for the provider costs as much as ten calls without tracing, but a
        # program may configure its SDK after it has built its workers and storages. So `ready`,
        # which a worker awaits once for each fetch, asks, and so does a push, for which nobody
        # awaits `ready` and whose round trip to the store hides it. A run does not ask.
        task: Any = request
        claimed: bool = task.run.attempt > 0  # what `task.claimed` says, for a fifth of its time
        tracer = self._tracer
        if tracer is None and not claimed:
            tracer = self._look_for_tracer()
        if tracer is None:
            return self.inner.call(request)
        return (self._process if claimed else self._send)(tracer, request, task)

    async def ready(self) -> None:
        """Wait for the inner service, and look whether tracing has been configured."""
        if self._tracer is None:
            self._look_for_tracer()
        await self.inner.ready()

    def _look_for_tracer(self) -> Tracer | None:
        self._tracer = find_tracer(self.layer.tracer_provider)
        return self._tracer

    async def _process(self, tracer: Tracer, request: Req, task: Task[object]) -> Res:
        parent, links = _origin(task, self.layer.relation)
        span = tracer.start_span(
            f"{names.PROCESS} {task.queue}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=_of_run(task),
            links=links,
        )
        token = attach(set_span_in_context(span, parent))
        try:
            result = await self.inner.call(request)
        except Exception as error:
            span.set_attribute(names.TASK_OUTCOME, _outcome(error))
            _record(span, error)
            raise
        except BaseException:
            _interrupted(span, task)
            raise
        else:
            span.set_attribute(names.TASK_OUTCOME, names.DONE)
            return result
        finally:
            detach(token)
            span.end()

    async def _send(self, tracer: Tracer, request: Req, task: Task[object]) -> Res:
        # A context that the user put there is the creation context; then this is only a client.
        given = _remote(extract(task.metadata))
        span = tracer.start_span(
            f"{names.SEND} {task.queue}",
            kind=SpanKind.CLIENT if given else SpanKind.PRODUCER,
            attributes=_of_task(task, names.SEND),
            links=[Link(given, {names.MESSAGE_ID: task.id})] if given else [],
        )
        token = attach(set_span_in_context(span))
        try:
            inject(task.metadata)
            return await self.inner.call(request)
        except Exception as error:
            _record(span, error)
            raise
        finally:
            detach(token)
            span.end()

    def __repr__(self) -> str:
        """Show relation and inner service."""
        return f"Tracing({self.layer.relation!r}, {self.inner!r})"


def _origin(task: Task[object], relation: Relation) -> tuple[Context, list[Link]]:
    """Answer the context to start the span in, and its links."""
    ambient, carried = get_current(), extract(task.metadata)
    remote = _remote(carried)
    links = [Link(remote, {names.MESSAGE_ID: task.id})] if remote else []
    if remote and relation == "parent":
        if around := _remote(ambient):
            links.append(Link(around))
        return carried, links
    # Linked only, the producer's baggage would be lost: it travels in the same context.
    for name, value in baggage.get_all(carried).items():
        ambient = baggage.set_baggage(name, value, ambient)
    return ambient, links


def _remote(context: Context) -> SpanContext | None:
    found = get_current_span(context).get_span_context()
    return found if found.is_valid else None


def _of_task(task: Task[object], operation: str) -> dict[str, str | int]:
    return {
        names.SYSTEM: "layered",
        names.OPERATION_NAME: operation,
        names.OPERATION_TYPE: operation,
        names.DESTINATION: task.queue,
        names.MESSAGE_ID: task.id,
        names.TASK_NAME: task.name,
    }


def _of_run(task: Task[object]) -> dict[str, str | int]:
    found = _of_task(task, names.PROCESS)
    found[names.TASK_ATTEMPT] = task.attempt
    if task.max_attempts is not None:
        found[names.TASK_MAX_ATTEMPTS] = task.max_attempts
    if task.run.host is not None:
        found[names.CLIENT_ID] = task.run.host.owner
    return found


def _outcome(error: Exception) -> str:
    if isinstance(error, Outcome) and not error.is_failure:
        return names.SNOOZED
    if isinstance(error, RetryAfter):
        return names.RETRY
    return names.KILLED if isinstance(error, Abort) else names.FAILED


def _record(span: Span, error: Exception) -> None:
    if isinstance(error, Outcome):
        if not error.is_failure:
            return
        # An outcome says how the task goes on; what went wrong is what it was made from.
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    span.set_attribute(names.ERROR_TYPE, _qualified(type(error)))
    span.set_status(Status(StatusCode.ERROR, str(error)))
    span.record_exception(error)


def _interrupted(span: Span, task: Task[object]) -> None:
    if task.run.reason is CancelReason.DEADLINE:
        # To the loop a cancellation like others, to the user a failure.
        span.set_attribute(names.TASK_OUTCOME, names.FAILED)
        span.set_attribute(names.ERROR_TYPE, _qualified(DeadlineExceeded))
        span.set_status(Status(StatusCode.ERROR, "the task's deadline passed"))
    else:
        span.set_attribute(names.TASK_OUTCOME, names.INTERRUPTED)


def _qualified(kind: type) -> str:
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


@attrs.frozen
class TracingLayer:
    """
    Make an OpenTelemetry span for each run in a worker's stack, for each push around a push.

    Put it outermost. ``process {queue}`` is one span for each delivery:
    reruns by a `RetryLayer` inside are part of it, and a failure that was
    made good leaves no mark. ``send {queue}`` puts its context into the
    task's metadata, unless there is one. Arguments and results never
    appear; an error's text does.

    Without an SDK it costs next to nothing, and does not put the
    producer's context around the handler either.

    Args:
        relation: How a run belongs to the push: ``"parent"``, one trace;
            or ``"link"``, a trace of its own that links to it, for
            fan-out and long delays. The link is there in both.
        tracer_provider: Whose tracer to use; default the program's, which
            may be configured after the stack is built.

    Raises:
        BuildError: if *relation* is neither.

    Source: apalis ``OtelLayer``; OpenTelemetry "Messaging spans".
    """

    request_type: ClassVar[type] = Task

    relation: Relation = "parent"
    tracer_provider: TracerProvider | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse another relation."""
        if self.relation not in ("parent", "link"):
            raise BuildError(
                "TracingLayer", [f"'relation' must be 'parent' or 'link', got {self.relation!r}"]
            )

    def layer(self, inner: Service[Task[A], Res], /) -> Service[Task[A], Res]:
        """Put a `Tracing` around *inner*."""
        return Tracing(self, inner)
