"""Logs: one JSON object a line on a pipe, readable lines on a terminal, never message content."""

import asyncio
import atexit
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog

from memory.tracing import name_span

# What is gathered goes out after so long. A process that is killed meanwhile loses these lines.
GATHER_SECONDS = 0.02
ENCODER = msgspec.json.Encoder()


class Lines:
    """Lines of INFO for a log that gets one a request: they go out together, a moment later.

    One by one and by the standard library's way, they would cost a request a tenth of its time.
    """

    def __init__(self, stream: TextIO, process: str) -> None:
        self._stream = stream
        self._process = process
        self._waiting: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        atexit.register(self.flush)

    def add(self, logger: str, event: dict[str, Any]) -> None:
        """Note `event`; in an event loop."""
        line = {
            "process": self._process,
            **event,
            "level": "info",
            "logger": logger,
            "timestamp": datetime.now(UTC),
        }
        self._waiting.append(ENCODER.encode(name_span(None, "info", line)))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GATHER_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._timer:
            self._timer.cancel()
        lines, self._waiting, self._timer = self._waiting, [], None
        if lines:
            self._stream.buffer.write(b"\n".join([*lines, b""]))
            self._stream.flush()


# Where such lines go, if not by structlog: in a process whose log is JSON and has lines of INFO.
_lines: Lines | None = None


def info(log: Any, logger: str, event: str, **values: Any) -> None:
    """As `log.info`, for an event that comes with every request; `logger` is the name of `log`."""
    if _lines is None:
        log.info(event, **values)
    else:
        _lines.add(logger, {**values, "event": event, **structlog.contextvars.get_contextvars()})


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
    global _lines
    _lines = None if terminal or root.level > logging.INFO else Lines(sys.stderr, process)
    # One line a start that says nothing new.
    logging.getLogger("alembic").setLevel(logging.WARNING)
