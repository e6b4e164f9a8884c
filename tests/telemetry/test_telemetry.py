from types import MappingProxyType

from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from layered.task import NO_METADATA
from layered.telemetry import extract, find_tracer, inject, names

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


def test_names_are_all_different() -> None:
    """Two attributes of one name would overwrite each other."""
    values = [value for name, value in vars(names).items() if name.isupper()]

    assert len(values) == len(set(values))
