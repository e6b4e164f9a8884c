"""`TracingContext`: from a task's metadata, and back into a push."""

from collections.abc import Iterator

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from layered.extractors import TracingContext
from tests.handler.parts import Email, called, make_task

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "vendor=1"}


@pytest.fixture
def span() -> Iterator[None]:
    """Make a remote span current."""
    inside = SpanContext(
        int(TRACE, 16), 0xB7AD6B7169203331, is_remote=True, trace_flags=TraceFlags(1)
    )
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(inside)))
    yield
    context.detach(token)


async def send(email: Email, tracing: TracingContext) -> TracingContext:
    """Answer what it got."""
    return tracing


async def test_handler_gets_the_context_that_its_task_travels_with() -> None:
    """And nothing else of the metadata."""
    task = make_task(metadata={**HEADERS, "tenant": "t1"})

    tracing = await called(send, task=task)

    assert tracing.headers == HEADERS
    assert tracing.trace_id == TRACE
    assert trace.get_current_span(tracing.context).get_span_context().is_remote


async def test_handler_gets_an_empty_context_without_a_trace() -> None:
    """No trace is no error."""
    tracing = await called(send)

    assert tracing.headers == {}
    assert tracing.trace_id is None
    assert tracing.metadata() == {}


def test_context_becomes_the_metadata_of_a_push() -> None:
    """Alone or with other values, which it does not change."""
    tracing, others = TracingContext(HEADERS), {"tenant": "t1"}

    assert tracing.metadata() == HEADERS
    assert tracing.metadata(others) == {**HEADERS, "tenant": "t1"}
    assert others == {"tenant": "t1"}


@pytest.mark.usefixtures("span")
def test_current_context_is_that_of_the_current_span() -> None:
    """So a push can be put into it from anywhere."""
    tracing = TracingContext.current()

    assert tracing.trace_id == TRACE
    assert tracing.headers["traceparent"] == HEADERS["traceparent"]


def test_current_context_is_empty_outside_of_a_span() -> None:
    """Nothing is made up."""
    assert TracingContext.current() == TracingContext({})
