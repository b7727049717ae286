"""A span for each statement: its name, how long it took and how many rows it gave; no values.

For SQLAlchemy 2.1, which OpenTelemetry's own instrumentation does not take.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from memory import tracing

# What each of our statements begins with.
NAME = re.compile(r"\s*(?:\w+ )?/\* (\w+) \*/")
FIRST_WORD = re.compile(r"\s*(\w*)")


def trace_statements(engine: Engine) -> None:
    """Make a span of each statement that `engine` executes as a part of another span."""
    place = place_of(engine.url)

    def begin(_: Any, __: Any, statement: str, ___: Any, execution: Any, ____: bool) -> None:
        name = name_of(statement)
        execution.span = tracing.child(name, "client", {**place, "db.query.summary": name})

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


@contextmanager
def traced_statement(url: URL, statement: str) -> Iterator[tracing.Span]:
    """The span of a statement that goes to the database at `url` without an engine."""
    if not tracing.is_on():
        yield tracing.NOTHING
        return
    name = name_of(statement)
    with tracing.child(name, "client", {**place_of(url), "db.query.summary": name}) as span:
        try:
            yield span
        except DBAPIError as error:
            note_failure(span, error.orig or error)
            raise


def place_of(url: URL) -> dict[str, str | int]:
    """What a span says of the database at `url`."""
    place: dict[str, str | int] = {"db.system.name": "postgresql"}
    known = {"db.namespace": url.database, "server.address": url.host, "server.port": url.port}
    return place | {name: value for name, value in known.items() if value}


def end(_: Any, cursor: Any, __: str, ___: Any, execution: Any, ____: bool) -> None:
    """The statement has been executed."""
    if cursor.rowcount >= 0:
        execution.span.note({"db.response.returned_rows": cursor.rowcount})
    execution.span.end()


def fail(failure: ExceptionContext) -> None:
    """The statement has failed; what PostgreSQL says of it may hold values, its code does not."""
    span = getattr(failure.execution_context, "span", tracing.NOTHING)
    note_failure(span, failure.original_exception)
    span.end()


def note_failure(span: tracing.Span, error: BaseException) -> None:
    """Say in `span` why its statement has failed."""
    code = getattr(error, "sqlstate", None)
    if code:
        span.note({"db.response.status_code": code})
    span.fail(code or type(error).__name__)


def name_of(statement: str) -> str:
    """What the comment that `statement` begins with calls it; without one, its first word."""
    found = NAME.match(statement) or FIRST_WORD.match(statement)
    return found[1] if found else ""
