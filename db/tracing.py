"""A span for each statement: its name, how long it took and how many rows it gave; no values.

For SQLAlchemy 2.1, which OpenTelemetry's own instrumentation does not take.
"""

import re
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from memory import tracing

# What each of our statements begins with.
NAME = re.compile(r"\s*(?:\w+ )?/\* (\w+) \*/")
FIRST_WORD = re.compile(r"\s*(\w*)")


def trace_statements(engine: Engine) -> None:
    """Make a span of each statement that `engine` executes as a part of another span."""
    url = engine.url
    place: dict[str, str | int] = {"db.system.name": "postgresql"}
    known = {"db.namespace": url.database, "server.address": url.host, "server.port": url.port}
    place |= {name: value for name, value in known.items() if value}

    def begin(_: Any, __: Any, statement: str, ___: Any, execution: Any, ____: bool) -> None:
        name = name_of(statement)
        execution.span = tracing.child(name, "client", {**place, "db.query.summary": name})

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


def end(_: Any, cursor: Any, __: str, ___: Any, execution: Any, ____: bool) -> None:
    """The statement has been executed."""
    if cursor.rowcount >= 0:
        execution.span.note({"db.response.returned_rows": cursor.rowcount})
    execution.span.end()


def fail(failure: ExceptionContext) -> None:
    """The statement has failed; what PostgreSQL says of it may hold values, its code does not."""
    span = getattr(failure.execution_context, "span", tracing.NOTHING)
    error = failure.original_exception
    code = getattr(error, "sqlstate", None)
    if code:
        span.note({"db.response.status_code": code})
    span.fail(code or type(error).__name__)
    span.end()


def name_of(statement: str) -> str:
    """What the comment that `statement` begins with calls it; without one, its first word."""
    found = NAME.match(statement) or FIRST_WORD.match(statement)
    return found[1] if found else ""
