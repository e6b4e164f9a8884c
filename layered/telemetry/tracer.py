"""The tracer, and whether there is one worth calling."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    Tracer,
    TracerProvider,
    get_tracer_provider,
)

from layered.telemetry.names import SCHEMA_URL, SCOPE


def _version() -> str | None:
    try:
        return version("layered-tasks")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None


VERSION = _version()  # at import: it reads files, and a tracer may be looked for in an event loop


def find_tracer(provider: TracerProvider | None = None) -> Tracer | None:
    """
    Answer a tracer; `None` while nobody would see its spans.

    Args:
        provider: Whose tracer; `None` for the program's own, which is none
            until an SDK is configured.
    """
    found = provider if provider is not None else get_tracer_provider()
    if isinstance(found, NoOpTracerProvider | ProxyTracerProvider):
        return None
    return found.get_tracer(SCOPE, VERSION, schema_url=SCHEMA_URL)
