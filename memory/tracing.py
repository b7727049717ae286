"""Traces: what a request does on its way from the API through SQL to the worker, as spans.

Off, as it is by default, nothing of OpenTelemetry is loaded, and what is here looks at a variable
and does nothing. What there is when it is on stands in `memory/telemetry.py`.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import TracebackType
from typing import Any, Literal, Protocol

from memory.errors import SettingsError

Attributes = Mapping[str, str | int | float]
Kind = Literal["internal", "server", "client", "producer", "consumer"]
# The span that something comes from, to be the parent of what is done for it elsewhere, and later.
Origin = Any


class Span(Protocol):
    """A part of a trace. In its block it is the one that is at work, and the block's end ends it.

    An error that leaves the block is noted by its type: its text may hold what people said.
    """

    def __enter__(self) -> "Span": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def note(self, attributes: Attributes, name: str = "") -> None:
        """Add `attributes`; with `name`, call it that from now on."""

    def fail(self, reason: str) -> None:
        """It has failed for a reason of few words, which is the same for many failures."""

    def end(self) -> None:
        """It has come to its end; once more does nothing."""


class Tracing(Protocol):
    """What makes spans; see the functions of the same names."""

    def begin(
        self, name: str, kind: Kind, carried: Mapping[str, str], attributes: Attributes
    ) -> Span: ...

    def child(self, name: str, kind: Kind, attributes: Attributes) -> Span: ...

    def group(
        self, name: str, origins: Sequence[Origin], kind: Kind, attributes: Attributes
    ) -> Span: ...

    def here(self) -> Origin: ...

    def headers(self) -> dict[str, str]: ...

    def ids(self) -> dict[str, str]: ...

    def stop(self, seconds: float) -> None: ...


class Nothing:
    """In the place of a span where none is recorded."""

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, attributes: Attributes, name: str = "") -> None:
        """Nothing to note."""

    def fail(self, reason: str) -> None:
        """Nothing to note."""

    def end(self) -> None:
        """Nothing to end."""


# Of W3C Trace Context.
HEADERS = frozenset({"traceparent", "tracestate"})
NOTHING = Nothing()
NO_ATTRIBUTES: Attributes = {}
NO_HEADERS: Mapping[str, str] = {}
# The process's, while it is on.
_tracing: Tracing | None = None


def start(endpoint: str, process: str) -> None:
    """Send spans to the collector at `endpoint` from here on, as the service `memory-<process>`.

    Not before a fork: the thread that sends does not survive one. Without an endpoint it stays off.
    Raises `SettingsError` for an `OTEL_*` variable that OpenTelemetry does not take.
    """
    global _tracing
    stop()
    if not endpoint:
        return
    try:
        _tracing = import_module("memory.telemetry").Telemetry(endpoint, f"memory-{process}")
    except ValueError as error:
        raise SettingsError(f"Traces cannot be sent as the OTEL_* variables say: {error}") from None


def stop(seconds: float = 2.0) -> None:
    """Send what waits, for so long and no longer, and be off."""
    global _tracing
    ending, _tracing = _tracing, None
    if ending:
        ending.stop(seconds)


def is_on() -> bool:
    """Whether spans are sent anywhere."""
    return _tracing is not None


def begin(
    name: str,
    kind: Kind = "internal",
    carried: Mapping[str, str] = NO_HEADERS,
    attributes: Attributes = NO_ATTRIBUTES,
) -> Span:
    """A span that begins a trace, or goes on with the one that the headers `carried` tell of."""
    return _tracing.begin(name, kind, carried, attributes) if _tracing else NOTHING


def child(name: str, kind: Kind = "internal", attributes: Attributes = NO_ATTRIBUTES) -> Span:
    """A part of the span at work; nothing where none is."""
    return _tracing.child(name, kind, attributes) if _tracing else NOTHING


def group(
    name: str,
    origins: Sequence[Origin],
    kind: Kind = "internal",
    attributes: Attributes = NO_ATTRIBUTES,
) -> Span:
    """What is done at once for several: a part of the first one's trace, linked with the others'.

    For nobody, it begins a trace of its own, which is linked to the span at work.
    """
    return _tracing.group(name, origins, kind, attributes) if _tracing else NOTHING


def here() -> Origin:
    """The span at work, for a `group`; None where there is none."""
    return _tracing.here() if _tracing else None


def headers() -> dict[str, str]:
    """What tells another process of the span at work, as W3C Trace Context has it."""
    return _tracing.headers() if _tracing else {}


def name_span(_logger: object, _method: str, event: Any) -> Any:
    """Put `trace_id` and `span_id` of the span at work into a log line, for structlog."""
    return {**event, **_tracing.ids()} if _tracing else event
