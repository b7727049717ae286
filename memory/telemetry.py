"""Traces by OpenTelemetry, sent over OTLP/HTTP. Loaded by `memory/tracing.py` when they are on."""

import logging
import os
import socket
import threading
import time
import uuid
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from types import TracebackType

import structlog
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from memory.tracing import NOTHING, Attributes, Kind, Origin, Span
from memory.version import VERSION

# So many of a group's others it is linked with.
MOST_LINKS = 100
# A collector that is away is told of so often.
SILENT_SECONDS = 60.0
KINDS = {kind.name.lower(): kind for kind in SpanKind}
# They would say it for each batch that they cannot send, or for each span that they have no room
# for; `Sender` says it once in a while.
TALKATIVE = {
    "opentelemetry.exporter.otlp.proto.http.trace_exporter": logging.CRITICAL,
    "opentelemetry.sdk._shared_internal": logging.ERROR,
}

log = structlog.get_logger(__name__)


class Recorded:
    """A span of OpenTelemetry's, as `tracing.Span` has it."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context.detach(self._token)
        if kind is CancelledError:
            # Nobody wants it any more, which is no failure.
            self.note({"memory.cancelled": True})
        elif kind:
            self.fail(kind.__name__)
        self.end()

    def note(self, attributes: Attributes, name: str = "") -> None:
        """Add `attributes`; with `name`, call it that from now on."""
        if self._span.is_recording():
            self._span.set_attributes(attributes)
            if name:
                self._span.update_name(name)

    def fail(self, reason: str) -> None:
        """It has failed for a reason of few words, which is the same for many failures."""
        if self._span.is_recording():
            self._span.set_attribute("error.type", reason)
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """It has come to its end; once more does nothing."""
        if self._span.is_recording():
            self._span.end()


class Telemetry:
    """The spans of a process; what of them is kept, the `OTEL_*` variables say."""

    def __init__(self, endpoint: str, service: str) -> None:
        for name, level in TALKATIVE.items():
            logging.getLogger(name).setLevel(level)
        self._provider = TracerProvider(resource=resource(service), shutdown_on_exit=False)
        sender = Sender(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
        self._provider.add_span_processor(BatchSpanProcessor(sender))
        self._tracer = self._provider.get_tracer("ai-memory-layer", VERSION)
        self._carrier = TraceContextTextMapPropagator()

    def begin(
        self, name: str, kind: Kind, carried: Mapping[str, str], attributes: Attributes
    ) -> Span:
        """As `tracing.begin`. Headers that are not well-formed count as none."""
        before = self._carrier.extract(carried, context=Context())
        return Recorded(self._start(name, kind, attributes, before))

    def child(self, name: str, kind: Kind, attributes: Attributes) -> Span:
        """As `tracing.child`."""
        # Its own end does not matter: what is done later for a request is a part of its trace.
        if not is_kept(trace.get_current_span()):
            return NOTHING
        return Recorded(self._start(name, kind, attributes))

    def group(
        self, name: str, origins: Sequence[Origin], kind: Kind, attributes: Attributes
    ) -> Span:
        """As `tracing.group`: linked both ways, for not all viewers show who links to a span."""
        known: list[trace.Span] = list(dict.fromkeys(each for each in origins if each))
        if not known:
            links = linked_with([self.here()])
            return Recorded(self._start(name, kind, attributes, Context(), links))
        # One whose trace is kept, if there is any, or nobody would see what took the time.
        parent = next(filter(is_kept, known), known[0])
        others = [each for each in known if each is not parent][:MOST_LINKS]
        before = trace.set_span_in_context(parent, Context())
        span = self._start(name, kind, attributes, before, linked_with(others))
        for each in others if span.is_recording() else ():
            if each.is_recording():
                each.add_link(span.get_span_context())
        return Recorded(span)

    def here(self) -> Origin:
        """As `tracing.here`."""
        span = trace.get_current_span()
        return span if span.get_span_context().is_valid else None

    def headers(self) -> dict[str, str]:
        """As `tracing.headers`; of a trace that is not kept too, so that it is not in part."""
        carried: dict[str, str] = {}
        self._carrier.inject(carried)
        return carried

    def ids(self) -> dict[str, str]:
        """The ids of the span at work, as logs show them."""
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(span.trace_id),
            "span_id": trace.format_span_id(span.span_id),
        }

    def stop(self, seconds: float) -> None:
        """Send what waits; a collector that does not answer by then is left behind."""
        # The SDK would wait for half a minute, and has no way to say otherwise.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)

    def _start(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        before: Context | None = None,
        links: Sequence[Link] = (),
    ) -> trace.Span:
        return self._tracer.start_span(
            name, before, KINDS[kind], attributes=attributes, links=links
        )


class Sender(SpanExporter):
    """Passes spans on to `exporter`, and says once in a while that it cannot."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self._said = -SILENT_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Whether `spans` were sent. Called by one thread, which no request waits for."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
        now = time.monotonic()
        if self._lost and now - self._said >= SILENT_SECONDS:
            # Without a word of where to: the URL may hold a password.
            log.warning("spans_not_sent", spans=self._lost)
            self._said, self._lost = now, 0
        return result

    def shutdown(self) -> None:
        """Try no more."""
        self._exporter.shutdown()


def resource(service: str) -> Resource:
    """What the process is; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before it."""
    ours: dict[str, str | int] = {
        "service.name": service,
        "service.namespace": "ai-memory-layer",
        "service.version": VERSION,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def is_kept(span: trace.Span) -> bool:
    """Whether there is such a span, and its trace is one of those that are sent."""
    return span.get_span_context().trace_flags.sampled


def linked_with(origins: Sequence[Origin]) -> list[Link]:
    """Links to those of `origins` that there are."""
    return [Link(each.get_span_context()) for each in origins if each]
