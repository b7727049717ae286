"""A span for each request, which whatever is done for it is a part of."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPMethod, HTTPStatus

from litestar.types import HTTPScope

from api.door import ALWAYS_ANSWERED
from api.exchange import Exchange
from memory import tracing
from memory.settings import Settings

METHODS = frozenset(HTTPMethod)


@asynccontextmanager
async def traces(settings: Settings) -> AsyncIterator[None]:
    """Send the spans of this process, if the settings say where to."""
    tracing.start(settings.otel_exporter_otlp_endpoint, "api")
    try:
        yield
    finally:
        await asyncio.to_thread(tracing.stop)


@contextmanager
def traced(scope: HTTPScope, headers: Mapping[str, str], exchange: Exchange) -> Iterator[None]:
    """What is done in the block is a part of this request's span; of a probe there is none.

    It goes on with the trace that the caller's `traceparent` tells of. Of what the caller sent it
    has the method and the request id: the path and the query say what people said, and who.
    """
    if not tracing.is_on() or scope["path"] in ALWAYS_ANSWERED:
        yield
        return
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    known = {
        "http.request.method": method,
        "url.scheme": scope["scheme"],
        "memory.request_id": exchange.request_id,
    }

    def answered() -> None:
        describe(span, method, scope, exchange.status)
        span.end()

    with tracing.begin(method, "server", headers, known) as span:
        # A stream of events lasts as long as they do; how long it took to begin is what counts.
        exchange.on_stream = answered
        try:
            yield
        finally:
            answered()


def describe(span: tracing.Span, method: str, scope: HTTPScope, status: int) -> None:
    """Note what is known of a request once it is answered; its name is that of its route."""
    known: dict[str, str | int] = {"http.response.status_code": status}
    if route := scope.get("path_template"):
        known["http.route"] = str(route)
    if tenant := scope.get("tenant_id"):
        known["memory.tenant_id"] = str(tenant)
    shown = "HTTP" if method == "_OTHER" else method
    span.note(known, name=f"{shown} {route}" if route else shown)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))
