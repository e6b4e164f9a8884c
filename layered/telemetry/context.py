"""Trace context in task metadata: W3C headers as plain text values."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from opentelemetry import propagate
from opentelemetry.context import Context


def inject(metadata: Mapping[str, str]) -> None:
    """
    Write the current trace context into *metadata*.

    A context that the user put there is not overwritten. Without an SDK,
    or outside a span, it writes nothing.
    """
    if "traceparent" not in metadata and isinstance(metadata, MutableMapping):
        propagate.inject(metadata)


def extract(metadata: Mapping[str, str]) -> Context:
    """Read the trace context that travels in *metadata*; empty if there is none."""
    return propagate.extract(metadata, context=Context())
