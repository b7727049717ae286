"""HTTP as it comes over the wire: what its parser refuses is answered like every other error."""

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.admission import HEADERS_MAX_BYTES, URL_MAX_BYTES
from api.browsers import browser_headers
from api.exchange import LINGER_SECONDS, request_id
from api.problems import ProblemError, render

log = structlog.get_logger(__name__)

# Of what is shorter the gate tells to the byte what is too long; of what is longer nothing is kept.
HEAD_MAX_BYTES = 2 * (URL_MAX_BYTES + HEADERS_MAX_BYTES)
# What is not read yet of an answer lies in memory, whatever the clock of its request says.
UNREAD_SECONDS = 30.0
READ_LEAST_BYTES = 256 * 1024
OFFER = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class State(ServerState):
    """What all connections of a server know."""

    leaving = False
    """Whether each answer is the last one of its connection."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to what it reads before it knows what is asked.

    And with an end to waiting for a caller who does not read the answer, and one to the connection
    that the caller is told of.
    """

    server_state: State

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._refused = False
        self._between = True
        self._head_begun = False
        self._head_bytes = 0
        self._unread_bytes = 0
        self._unread_timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """More waits to be read than the connection takes."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """The caller has read nearly all."""
        self._watch_no_more()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has gone."""
        self._watch_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the caller was refused and only has not noticed yet."""
        if self._refused:
            return
        if self._between:
            data = without_offer(data)
        super().data_received(data)
        if self._head_begun and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES:
                self._refuse(self._too_long())

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._between = False
        self._head_begun, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """All of a request is known but its body."""
        self._head_begun = False
        super().on_headers_complete()
        if self.server_state.leaving:
            self.cycle.keep_alive = False

    def take_leave(self) -> None:
        """Let the answer at hand be the last one; a connection without a request is left open."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """All of a request has been read."""
        super().on_message_complete()
        self._between = True

    def _unsupported_upgrade_warning(self) -> None:
        """A caller may offer HTTP/2 or WebSockets; to pass over it is no event."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, which to the parser a URL is also when it is too long."""
        too_long = len(self.url or b"") >= URL_MAX_BYTES
        self._refuse(self._too_long() if too_long else ProblemError(400, "invalid-request", msg))

    def _watch_reading(self) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self._see_reading)

    def _watch_no_more(self) -> None:
        if self._unread_timer:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _see_reading(self) -> None:
        read = self._unread_bytes - self.transport.get_write_buffer_size()
        if read >= READ_LEAST_BYTES:
            self._watch_reading()
        else:
            log.info("answer_not_read", bytes=self.transport.get_write_buffer_size())
            self.transport.abort()

    def _too_long(self) -> ProblemError:
        if len(self.url) >= URL_MAX_BYTES:
            return ProblemError(414, "url-too-long", f"The URL is over {URL_MAX_BYTES - 1} bytes.")
        detail = "The headers are too large to read them to their end."
        return ProblemError(431, "headers-too-large", detail)

    def _refuse(self, problem: ProblemError) -> None:
        self._refused = True
        if self.cycle and not self.cycle.response_complete:
            # A request whose body turned out wrong: who works on it is told that nobody waits.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        id_ = request_id(None)
        log.info("request_refused", status=problem.status, request_id=id_)
        status, named, body = render(problem, id_)
        headers = [(name.encode(), value.encode()) for name, value in named.items()]
        headers += [(b"x-request-id", id_.encode()), (b"content-length", b"%d" % len(body))]
        headers += browser_headers(self.scheme or "http", headers)
        self.transport.write(written(status, [*self.server_state.default_headers, *headers], body))
        # Closed on a caller who still sends, the connection would be reset, answer and all.
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def without_offer(data: bytes) -> bytes:
    """What begins a request, without an offer to go on in another protocol, which may be declined.

    Java's client makes one with each request. The parser takes what follows it, and so the body,
    for the other protocol's.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    return OFFER.sub(b"", head) + data[len(head) :] if OFFER.search(head) else data


def written(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """An answer as it goes over the wire, after which there is no other."""
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([STATUS_LINE[status], *lines, b"connection: close\r\n\r\n", body])
