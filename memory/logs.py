"""Logs: one JSON object a line on a pipe, readable lines on a terminal, never message content."""

import logging
import sys
from typing import Any

import structlog

from memory.tracing import name_span


def configure_logging(level: str, process: str) -> None:
    """Send structlog's and the standard library's records to stderr, `process` named in each."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_span,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        lambda _logger, _method, event: {"process": process, **event},
    ]
    terminal = sys.stderr.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # One line a start that says nothing new.
    logging.getLogger("alembic").setLevel(logging.WARNING)
