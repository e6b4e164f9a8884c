"""`TracingContext`: the trace that a task belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs
from opentelemetry import propagate, trace
from opentelemetry.context import Context

from layered.task import Task
from layered.telemetry import extract, inject


@attrs.frozen
class TracingContext:
    """
    The trace context that travels with a task, as W3C headers.

    A handler that asks for it gets the context of the *push*. To push a
    task into the same trace, or into another one::

        async def send(email: Email, tracing: TracingContext) -> None:
            await storage.push(Receipt(), metadata=tracing.metadata())

    Args:
        headers: Such as ``{"traceparent": "00-…"}``; empty without a trace.
    """

    headers: Mapping[str, str]

    @classmethod
    def from_task(cls, task: Task[Any], /) -> TracingContext:
        """Read the context from the task's metadata."""
        return cls.from_metadata(task.metadata)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], /) -> TracingContext:
        """Pick the trace headers out of *metadata*, whatever else is in it."""
        fields = propagate.get_global_textmap().fields
        return cls(MappingProxyType({k: metadata[k] for k in sorted(fields) if k in metadata}))

    @classmethod
    def current(cls) -> TracingContext:
        """Answer the context of the span that is current now; empty outside of one."""
        headers: dict[str, str] = {}
        inject(headers)
        return cls(MappingProxyType(headers))

    def metadata(self, others: Mapping[str, str] | None = None, /) -> dict[str, str]:
        """Answer the headers, and *others* if given, as metadata for a push."""
        return {**(others or {}), **self.headers}

    @property
    def context(self) -> Context:
        """The OpenTelemetry context, to start spans in or link to."""
        return extract(self.headers)

    @property
    def trace_id(self) -> str | None:
        """The trace's id, 32 hexadecimal digits; `None` without a trace."""
        span = trace.get_current_span(self.context).get_span_context()
        return trace.format_trace_id(span.trace_id) if span.is_valid else None
