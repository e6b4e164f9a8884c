"""OpenTelemetry names and context propagation; the API only, never an SDK."""

from layered.telemetry.context import extract, inject

__all__ = ["extract", "inject"]
