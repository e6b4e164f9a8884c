import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Token
from typing import Any

import anyio
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from layered import (
    Abort,
    BuildError,
    CancelReason,
    CatchLayer,
    Outcome,
    RetryAfter,
    RetryLayer,
    Service,
    ServiceBuilder,
    Snooze,
    Task,
    TracingLayer,
    service_fn,
)
from layered.layers import tracing
from layered.service.contract import Middleware
from layered.telemetry import inject
from tests.house.source import ROOT
from tests.layers.inner import Scripted, claimed, pushed


class Spans:
    """A tracer provider, and the spans that it was given, in the order of their ends."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def all(self) -> Sequence[ReadableSpan]:
        """Answer what has ended so far."""
        return self._exporter.get_finished_spans()

    def only(self) -> ReadableSpan:
        """Answer the one span that has ended."""
        (span,) = self.all()
        return span

    def around(self, inner: Service[Any, Any], relation: Any = "parent") -> Service[Any, Any]:
        """Put tracing around *inner*."""
        return TracingLayer(relation, tracer_provider=self.provider).layer(inner)

    def metadata(self) -> tuple[dict[str, str], trace.SpanContext]:
        """Answer metadata as a push leaves them, and the context of its span."""
        metadata: dict[str, str] = {}
        span = trace.NonRecordingSpan(
            trace.SpanContext(0xAB << 64, 0xCD, is_remote=True, trace_flags=trace.TraceFlags(1))
        )
        token = attach(baggage.set_baggage("tenant", "acme", trace.set_span_in_context(span)))
        inject(metadata)
        detach(token)
        return metadata, span.get_span_context()


@pytest.fixture
def spans() -> Spans:
    """Collect the spans of one test."""
    return Spans()


def context_of(span: ReadableSpan) -> trace.SpanContext:
    """Answer the span's own context, which an ended span has."""
    found: trace.SpanContext | None = span.context
    assert found is not None
    return found


async def test_tracing_makes_a_consumer_span_of_a_run(spans: Spans) -> None:
    """Name, kind and attributes are those of the messaging conventions."""
    task = claimed(attempt=2, max_attempts=5)

    assert await spans.around(Scripted("fine")).call(task) == "fine"

    span = spans.only()
    assert (span.name, span.kind) == ("process emails", SpanKind.CONSUMER)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "messaging.system": "layered",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "emails",
        "messaging.message.id": task.id,
        "messaging.client.id": "worker/host/1/abc",
        "layered.task.name": "Email",
        "layered.task.attempt": 2,
        "layered.task.max_attempts": 5,
        "layered.task.outcome": "done",
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "layered"
    assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"


async def test_tracing_gives_samplers_the_attributes_at_the_start(spans: Spans) -> None:
    """They decide before anything could be added."""
    seen: dict[str, Any] = {}

    class Sampler(trace.TracerProvider):
        def get_tracer(self, *names: Any, **more: Any) -> Any:
            return self

        def start_span(self, name: str, **options: Any) -> trace.Span:
            seen.update(options["attributes"])
            return trace.INVALID_SPAN

    await TracingLayer(tracer_provider=Sampler()).layer(Scripted("fine")).call(claimed())

    assert {"messaging.system", "messaging.operation.name", "messaging.destination.name"} <= set(
        seen
    )


async def test_tracing_puts_the_span_around_the_handler(spans: Spans) -> None:
    """What the handler traces is below it, with the producer's baggage."""
    metadata, _ = spans.metadata()
    inside: list[object] = []

    async def handle(task: Task[str]) -> None:
        inside.append(baggage.get_baggage("tenant"))
        with spans.tracer.start_as_current_span("inside"):
            pass

    await spans.around(service_fn(handle)).call(claimed(metadata=metadata))

    inner, outer = spans.all()
    assert inner.parent == context_of(outer)
    assert inside == ["acme"]


async def test_tracing_continues_the_producers_trace_as_its_parent(spans: Spans) -> None:
    """One waterfall from push to run; the link is there as well."""
    metadata, producer = spans.metadata()
    task = claimed(metadata=metadata)

    await spans.around(Scripted("fine"), "parent").call(task)

    span = spans.only()
    assert span.parent is not None
    assert span.parent.span_id == producer.span_id
    assert context_of(span).trace_id == producer.trace_id
    (link,) = span.links
    assert link.context.span_id == producer.span_id
    assert dict(link.attributes or {}) == {"messaging.message.id": task.id}


async def test_tracing_links_to_the_ambient_span_when_the_producer_is_the_parent(
    spans: Spans,
) -> None:
    """A span can have one parent; the other relation is not lost."""
    metadata, producer = spans.metadata()

    with spans.tracer.start_as_current_span("around"):
        await spans.around(Scripted("fine"), "parent").call(claimed(metadata=metadata))

    run, around = spans.all()
    assert run.parent is not None
    assert run.parent.span_id == producer.span_id
    assert [link.context.span_id for link in run.links] == [
        producer.span_id,
        context_of(around).span_id,
    ]


async def test_tracing_starts_a_trace_of_its_own_that_links_to_the_producer(spans: Spans) -> None:
    """For fan-out and long delays; baggage travels all the same."""
    metadata, producer = spans.metadata()
    inside: list[object] = []

    async def handle(task: Task[str]) -> None:
        inside.append(baggage.get_baggage("tenant"))

    await spans.around(service_fn(handle), "link").call(claimed(metadata=metadata))

    span = spans.only()
    assert span.parent is None
    assert context_of(span).trace_id != producer.trace_id
    assert [link.context.span_id for link in span.links] == [producer.span_id]
    assert inside == ["acme"]


@pytest.mark.parametrize("relation", ["parent", "link"])
async def test_tracing_is_below_the_ambient_span_when_nothing_was_carried(
    spans: Spans, relation: str
) -> None:
    """A task pushed without tracing does not cut off the spans around."""
    with spans.tracer.start_as_current_span("around"):
        await spans.around(Scripted("fine"), relation).call(claimed())

    run, around = spans.all()
    assert run.parent == context_of(around)
    assert run.links == ()


@pytest.mark.parametrize("relation", ["parent", "link"])
async def test_tracing_ignores_carried_context_that_is_no_context(
    spans: Spans, relation: str
) -> None:
    """Metadata is written by others."""
    await spans.around(Scripted("fine"), relation).call(claimed(metadata={"traceparent": "junk"}))

    assert spans.only().parent is None


async def test_tracing_records_a_failure_once(spans: Spans) -> None:
    """Status, `error.type` and one exception event; the error is the same object."""
    error = FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError) as caught:
        await spans.around(Scripted(error)).call(claimed())

    span = spans.only()
    assert caught.value is error
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "gone")
    assert span.attributes is not None
    assert span.attributes["error.type"] == "FileNotFoundError"
    assert span.attributes["layered.task.outcome"] == "failed"
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize(
    ("error", "outcome", "kind"),
    [
        (Abort("no"), "killed", "layered.errors.Abort"),
        (RetryAfter(60), "retry", "layered.errors.RetryAfter"),
    ],
)
async def test_tracing_tells_how_the_task_goes_on(
    spans: Spans, error: Outcome, outcome: str, kind: str
) -> None:
    """An outcome that is a failure is an error, with a word for what follows."""
    with pytest.raises(Outcome):
        await spans.around(Scripted(error)).call(claimed())

    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["layered.task.outcome"] == outcome
    assert span.attributes["error.type"] == kind


async def test_tracing_names_the_error_that_an_outcome_was_made_from(spans: Spans) -> None:
    """What went wrong is the handler's error, not the word for what follows."""
    service = spans.around(CatchLayer().layer(Scripted(ValueError("the matter"))))

    with pytest.raises(Abort):
        await service.call(claimed())

    span = spans.only()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert span.status.description == "the matter"
    assert span.attributes["layered.task.outcome"] == "killed"


async def test_tracing_takes_a_snooze_for_no_error(spans: Spans) -> None:
    """Not now is not a failure."""
    with pytest.raises(Snooze):
        await spans.around(Scripted(Snooze(5))).call(claimed())

    span = spans.only()
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert span.attributes is not None
    assert span.attributes["layered.task.outcome"] == "snoozed"
    assert "error.type" not in span.attributes


@pytest.mark.virtual_time
@pytest.mark.parametrize("reason", [CancelReason.DRAIN, CancelReason.USER, None])
async def test_tracing_takes_a_cancellation_for_no_error(
    spans: Spans, reason: CancelReason | None
) -> None:
    """A worker that stops is not the task's fault."""
    task = claimed()
    task.run.reason = reason

    with anyio.move_on_after(1):
        await spans.around(service_fn(lambda _: anyio.sleep(60))).call(task)

    span = spans.only()
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["layered.task.outcome"] == "interrupted"


@pytest.mark.virtual_time
async def test_tracing_takes_a_passed_deadline_for_an_error(spans: Spans) -> None:
    """To the loop it is a cancellation, to the user a failure."""
    task = claimed()
    task.run.reason = CancelReason.DEADLINE

    with anyio.move_on_after(1):
        await spans.around(service_fn(lambda _: anyio.sleep(60))).call(task)

    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["layered.task.outcome"] == "failed"
    assert span.attributes["error.type"] == "layered.errors.DeadlineExceeded"


@pytest.mark.virtual_time
async def test_tracing_makes_one_span_of_a_delivery_with_reruns(spans: Spans) -> None:
    """A failure that was made good leaves no mark."""
    service = spans.around(RetryLayer(3).layer(Scripted(ValueError("failed"), "fine")))

    await service.call(claimed())

    span = spans.only()
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()


async def test_tracing_makes_a_producer_span_of_a_push(spans: Spans) -> None:
    """Its context goes into the metadata, before the inner service stores them."""
    metadata: dict[str, str] = {}
    stored: list[dict[str, str]] = []

    async def store(task: Task[str]) -> str:
        stored.append(dict(task.metadata))
        return "stored"

    assert await spans.around(service_fn(store)).call(pushed(metadata)) == "stored"

    span = spans.only()
    assert (span.name, span.kind) == ("send emails", SpanKind.PRODUCER)
    assert dict(span.attributes or {}) == {
        "messaging.system": "layered",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "emails",
        "messaging.message.id": "id-1",
        "layered.task.name": "Email",
    }
    assert f"{context_of(span).span_id:016x}" in stored[0]["traceparent"]


async def test_tracing_keeps_the_context_that_a_user_pushed(spans: Spans) -> None:
    """It is the creation context: not overwritten, linked to, and the send is a client's."""
    metadata, creation = spans.metadata()
    before = dict(metadata)

    await spans.around(Scripted("stored")).call(pushed(metadata))

    span = spans.only()
    assert metadata == before
    assert span.kind is SpanKind.CLIENT
    assert [link.context.span_id for link in span.links] == [creation.span_id]


async def test_tracing_records_a_push_that_failed(spans: Spans) -> None:
    """The same object is raised."""
    error = ConnectionError("store is away")

    with pytest.raises(ConnectionError) as caught:
        await spans.around(Scripted(error)).call(pushed())

    span = spans.only()
    assert caught.value is error
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ConnectionError"


async def test_tracing_joins_push_and_run_in_one_trace(spans: Spans) -> None:
    """What went into the metadata comes out on the other side."""
    metadata: dict[str, str] = {}
    service = spans.around(Scripted("fine"))

    with spans.tracer.start_as_current_span("POST /signup"):
        await service.call(pushed(metadata))
    await service.call(claimed(metadata=metadata))

    send, post, process = spans.all()
    assert send.parent == context_of(post)
    assert process.parent is not None
    assert process.parent.span_id == context_of(send).span_id
    assert len({context_of(span).trace_id for span in (send, post, process)}) == 1


@pytest.mark.virtual_time
@pytest.mark.parametrize("ending", ["value", "error", "cancellation"])
@pytest.mark.parametrize("make", [claimed, pushed])
async def test_tracing_leaves_the_context_as_it_was(
    spans: Spans, make: Any, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attach has its detach, in its order, however the call ends."""
    balance: list[object] = []

    def attach_and_note(new: Context) -> Token[Context]:
        token = attach(new)
        balance.append(token)
        return token

    def detach_and_note(token: Token[Context]) -> None:
        assert balance.pop() is token
        detach(token)

    monkeypatch.setattr(tracing, "attach", attach_and_note)
    monkeypatch.setattr(tracing, "detach", detach_and_note)
    before = get_current()

    async def end(task: Task[str]) -> None:
        if ending == "error":
            raise ValueError(ending)
        if ending == "cancellation":
            await anyio.sleep(60)

    with anyio.move_on_after(1):
        with suppress(ValueError):
            await spans.around(service_fn(end)).call(make())

    assert balance == []
    assert get_current() == before
    assert len(spans.all()) == 1


@pytest.mark.virtual_time
async def test_tracing_keeps_concurrent_tasks_apart(spans: Spans) -> None:
    """What one task traces never appears below another's span."""

    async def handle(task: Task[str]) -> None:
        for _ in range(3):
            await anyio.sleep(1)
            with spans.tracer.start_as_current_span("step"):
                await anyio.sleep(1)

    service = spans.around(service_fn(handle))

    async with anyio.create_task_group() as group:
        for _ in range(2):

            async def run() -> None:
                await service.call(claimed())

            group.start_soon(run)

    steps = [span for span in spans.all() if span.name == "step"]
    runs = [context_of(span) for span in spans.all() if span.name == "process emails"]
    assert len(runs) == 2
    assert [sum(step.parent == run for step in steps) for run in runs] == [3, 3]


async def test_tracing_never_shows_arguments_or_results(spans: Spans) -> None:
    """They may be secret."""
    service = spans.around(Scripted("secret"))

    await service.call(claimed())
    await service.call(pushed())

    assert "secret" not in "".join(span.to_json() for span in spans.all())


def test_tracing_answers_the_inner_awaitable_itself_when_nobody_traces() -> None:
    """Without an SDK there is no frame, no span, nothing."""
    awaitable = object()

    class Inner(Middleware[Any, Any]):
        def call(self, request: Any, /) -> Any:
            return awaitable

    service: Service[Any, Any] = TracingLayer(tracer_provider=NoOpTracerProvider()).layer(
        Inner(Scripted())
    )

    assert service.call(claimed()) is awaitable
    assert service.call(pushed()) is awaitable


async def test_tracing_picks_up_a_provider_that_was_configured_after_the_build(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run by the next `ready`, which comes before each fetch; a push by itself."""
    service = TracingLayer().layer(Scripted("fine"))
    pushing = TracingLayer().layer(Scripted("stored"))
    await service.ready()
    await service.call(claimed())
    monkeypatch.setattr(
        "layered.telemetry.tracer.get_tracer_provider", lambda: spans.provider, raising=True
    )

    await service.ready()
    await service.call(claimed())
    await pushing.call(pushed())

    assert [span.name for span in spans.all()] == ["process emails", "send emails"]


async def test_tracing_passes_readiness_and_capacity_on(spans: Spans) -> None:
    """It holds nothing back itself."""

    class Busy(Middleware[Any, Any]):
        asked = 0

        async def ready(self) -> None:
            self.asked += 1

        def capacity(self) -> int:
            return 7

    inner = Busy(Scripted())
    for service in (spans.around(inner), TracingLayer().layer(inner)):
        await service.ready()
        assert service.capacity() == 7
    assert inner.asked == 2


def test_tracing_layer_is_refused_when_its_relation_is_unknown() -> None:
    """A typing error is found at once."""
    with pytest.raises(BuildError, match="must be 'parent' or 'link', got 'child'"):
        TracingLayer("child")  # type: ignore[arg-type]  # wrong on purpose


def test_tracing_layer_is_refused_around_requests_that_are_no_tasks() -> None:
    """It reads queue, id and metadata."""
    layer: Any = TracingLayer()  # checkers refuse it as well
    builder = ServiceBuilder.of(str, str).layer(layer)

    with pytest.raises(BuildError, match="needs Task requests, got <class 'str'>"):
        builder.service(Scripted("fine"))


API_ONLY = """
import sys

class NoSdk:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.sdk"):
            raise ImportError(name)

sys.meta_path.insert(0, NoSdk())

import anyio
from layered import TracingLayer
from tests.layers.inner import Scripted, claimed, pushed

async def main():
    service = TracingLayer().layer(Scripted("fine"))
    await service.ready()
    metadata = {}
    assert await service.call(claimed()) == "fine"
    assert await service.call(pushed(metadata)) == "fine"
    assert metadata == {}

anyio.run(main)
print("no SDK:", not any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""


async def test_tracing_needs_no_sdk() -> None:
    """The package uses the API only; choosing an SDK is the application's."""
    done = await anyio.run_process([sys.executable, "-c", API_ONLY], cwd=ROOT)

    assert done.stdout.decode().strip() == "no SDK: True"


def test_the_context_is_clean_after_all_tests_of_this_file() -> None:
    """A leak would show in whatever runs next."""
    assert context.get_current() == {}
