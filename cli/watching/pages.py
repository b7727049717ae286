"""Reading the metrics pages of processes, side by side and in bounded time."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from cli.watching.counts import Page, read_page, total

# Longer than an API takes that asks a database and a Redis that hang, or it would pass for dead.
ANSWER_SECONDS = 4.0
MOST_BYTES = 16 * 1_048_576
NO_ANSWER = f"no answer within {ANSWER_SECONDS:g} s"

Part = Literal["api", "worker", "beat"]


class Address(NamedTuple):
    """Where a process shows its metrics."""

    part: Part
    url: str


class Answer(NamedTuple):
    """What a process shows, or why nothing is known of it."""

    address: Address
    page: Page | None
    reason: str = ""


class Asking:
    """A page that is asked for, in a thread that ends within its time, or soon after.

    The thread is needed for the clock: a timeout of a socket is one for each byte.
    """

    def __init__(self, address: Address, key: str) -> None:
        """`key` is sent to an API, and to nobody else; empty is for none."""
        self._address = address
        self._key = key if address.part == "api" else ""
        self._socket: socket.socket | None = None
        self._answer = Answer(address, None, NO_ANSWER)
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def answer(self, deadline: float) -> Answer:
        """What has come until `deadline`, in seconds of the monotonic clock."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() and self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            return Answer(self._address, None, NO_ANSWER)
        return self._answer

    def _ask(self) -> None:
        try:
            status, text = self._fetched()
            reason = self._objection(status)
            page = None if reason else read_page(text)
            if page and not total(page.gauges, "memory_build_info"):
                raise ValueError
            self._answer = Answer(self._address, page, reason)
        except (OSError, http.client.HTTPException) as error:
            self._answer = Answer(self._address, None, worded(error))
        except ValueError:
            self._answer = Answer(self._address, None, "shows no metrics of this service")

    def _fetched(self) -> tuple[int, str]:
        """The status and the text of the page."""
        url = urlsplit(self._address.url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = kinds[url.scheme](url.hostname or "", url.port, timeout=ANSWER_SECONDS)
        try:
            connection.connect()
            # Kept here: a connection lets go of it as soon as it has the head of an answer.
            self._socket = connection.sock
            connection.request(
                "GET", url.path, headers={"x-api-key": self._key} if self._key else {}
            )
            # Which a body without a length would keep open past the connection's end.
            with connection.getresponse() as response:
                return response.status, response.read(MOST_BYTES).decode("utf-8", "replace")
        finally:
            connection.close()

    def _objection(self, status: int) -> str:
        """Why there is nothing to read, empty when there is."""
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            how = "MEMORY_METRICS_PUBLIC=false with MEMORY_API_KEYS, or --key-file"
            return "does not let this key in" if self._key else f"wants a key ({how})"
        if status == HTTPStatus.NOT_FOUND:
            return "has no metrics page (MEMORY_METRICS_ENABLED?)"
        return "" if status == HTTPStatus.OK else f"answers {status}"


def read_all(addresses: Sequence[Address], key: str) -> list[Answer]:
    """What each process shows now. Takes `ANSWER_SECONDS` at most, however many there are."""
    deadline = time.monotonic() + ANSWER_SECONDS
    asked = [Asking(address, key) for address in addresses]
    return [each.answer(deadline) for each in asked]


def worded(error: OSError | http.client.HTTPException) -> str:
    """Why a process could not be read, in few words."""
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, TimeoutError):
        return NO_ANSWER
    if isinstance(error, ConnectionError):
        return "the connection broke"
    if isinstance(error, http.client.HTTPException):
        return "does not speak HTTP"
    return error.strerror or "cannot be reached"
