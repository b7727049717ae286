"""An OTLP collector: it takes spans over HTTP, as Jaeger and Tempo do, and keeps them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import wait_until


@dataclass(frozen=True)
class Span:
    """A span as it was received."""

    name: str
    service: str
    kind: int
    trace_id: str
    id: str
    parent_id: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    links: tuple[str, ...]
    """The ids of the spans that it is linked with."""


class Collector:
    """What was received so far, spans and bytes."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.paths: set[str] = set()

    def take(self, path: str, body: bytes) -> None:
        """Keep what came."""
        self.paths.add(path)
        self.bodies.append(body)
        self.spans += spans_of(ExportTraceServiceRequest.FromString(body))

    def named(self, name: str) -> list[Span]:
        """The spans called `name`."""
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, wanted: Callable[[Span], bool] = lambda _: True) -> Span:
        """The first span called `name` that is `wanted`, once it has come."""

        def found() -> list[Span]:
            return [span for span in self.named(name) if wanted(span)]

        wait_until(found, f"a span {name!r} among {sorted({each.name for each in self.spans})}")
        return found()[0]

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace, in the order of their starts."""
        found = [span for span in list(self.spans) if span.trace_id == trace_id]
        return sorted(found, key=lambda span: span.start)

    def tree(self, trace_id: str) -> list[str]:
        """A trace as lines, each below what it is a part of and indented."""
        spans = self.trace(trace_id)
        known = {span.id for span in spans}

        def below(parent: str | None, depth: int) -> Iterator[str]:
            for span in spans:
                is_root = span.parent_id not in known
                if span.parent_id == parent or (parent is None and is_root):
                    yield "  " * depth + f"{span.service}: {span.name}"
                    yield from below(span.id, depth + 1)

        return list(below(None, 0))


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """The spans of a request."""
    for resource in request.resource_spans:
        process = attributes_of(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    service=process["service.name"],
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    attributes=attributes_of(span.attributes),
                    links=tuple(link.span_id.hex() for link in span.links),
                )


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes by name."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    """A collector that answers with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(self.path, body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
