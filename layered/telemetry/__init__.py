"""OpenTelemetry names, context propagation and the tracer; the API only, never an SDK."""

from layered.telemetry.context import extract, inject
from layered.telemetry.tracer import find_tracer

__all__ = ["extract", "find_tracer", "inject"]
