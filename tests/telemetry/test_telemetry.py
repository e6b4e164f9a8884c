from importlib.metadata import PackageNotFoundError
from types import MappingProxyType

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, format_trace_id

from layered import MemoryStorage, Task, TracingLayer, service_fn
from layered.task import NO_METADATA, Fence, Lease, Run
from layered.telemetry import extract, find_tracer, inject, names, tracer

TRACER = TracerProvider().get_tracer("test")


def test_inject_writes_what_extract_reads() -> None:
    """Trace context and baggage travel as plain text."""
    metadata: dict[str, str] = {}

    with TRACER.start_as_current_span("push") as span:
        token = attach(baggage.set_baggage("tenant", "acme"))
        inject(metadata)
        detach(token)

    carried = extract(metadata)
    found = trace.get_current_span(carried).get_span_context()
    assert found.span_id == span.get_span_context().span_id
    assert found.is_remote
    assert baggage.get_baggage("tenant", carried) == "acme"
    assert all(isinstance(text, str) for pair in metadata.items() for text in pair)


def test_inject_does_not_overwrite_a_context() -> None:
    """Who pushes with one of his own means it."""
    metadata = {"traceparent": "mine"}

    with TRACER.start_as_current_span("push"):
        inject(metadata)

    assert metadata == {"traceparent": "mine"}


def test_inject_writes_nothing_outside_a_span() -> None:
    """Nor into what cannot be written to."""
    metadata: dict[str, str] = {}
    inject(metadata)

    with TRACER.start_as_current_span("push"):
        inject(NO_METADATA)
        inject(MappingProxyType({}))

    assert metadata == {}
    assert NO_METADATA == {}


def test_extract_takes_nothing_of_the_ambient_context() -> None:
    """A task that carries nothing is not part of what happens to run around it."""
    with TRACER.start_as_current_span("around"):
        assert get_current() != {}
        assert extract({}) == Context()


def test_find_tracer_finds_none_where_nobody_would_see_its_spans() -> None:
    """Neither of a provider that does nothing nor before one is configured."""
    assert find_tracer(NoOpTracerProvider()) is None
    assert find_tracer(ProxyTracerProvider()) is None
    assert find_tracer() is None
    assert find_tracer(TracerProvider()) is not None


def test_tracer_has_no_version_where_layered_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when it runs from a folder that was put on the path."""

    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(tracer, "version", unknown)

    assert tracer._version() is None


async def test_span_of_a_run_that_belongs_to_no_worker_names_no_client() -> None:
    """As in a test that takes a claimed task through a stack by itself."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    lease = Lease(Fence("id", 1, b""), "q", "Email", b"", "json", 1, {}, 5, 1, None, 0, 0, 0)

    async def answer(task: Task[str]) -> str:
        return task.args

    service = TracingLayer(tracer_provider=provider).layer(service_fn(answer))

    assert await service.call(Task("hello", Run(lease))) == "hello"
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes[names.TASK_ATTEMPT] == 1
    assert names.CLIENT_ID not in span.attributes


async def test_push_in_a_span_carries_its_context_without_a_layer() -> None:
    """The trace goes on in the worker, whether a `TracingLayer` is around the push or not."""
    storage = MemoryStorage(str)

    with TRACER.start_as_current_span("around") as span:
        alone = await storage.push("hello")
        (one_of_many,) = await storage.push_many(["hello"])

    trace_id = format_trace_id(span.get_span_context().trace_id)
    for pushed in (alone, one_of_many):
        record = await storage.get(pushed.id)
        assert record is not None
        assert record.metadata["traceparent"].split("-")[1] == trace_id


def test_names_are_all_different() -> None:
    """Two attributes of one name would overwrite each other."""
    values = [value for name, value in vars(names).items() if name.isupper()]

    assert len(values) == len(set(values))
