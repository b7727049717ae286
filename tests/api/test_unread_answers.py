"""A caller who asks for much and reads nothing of it."""

import contextlib
import socket
import time

import httpx
import pytest

from tests.api.test_protocol import speak
from tests.conftest import message
from tests.processes import wait_until

LIST = b"GET /v1/messages?tenant_id=acme&limit=200 HTTP/1.1\r\nhost: localhost\r\n\r\n"
MEGABYTES = 10


@pytest.fixture
def full(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """A service that waits half a second for a reader, and has ten megabytes to read."""
    monkeypatch.setattr("api.protocol.UNREAD_SECONDS", 0.5)
    monkeypatch.setattr("api.protocol.READ_LEAST_BYTES", 64 * 1024)
    body = {"messages": [message(content="x" * 100_000)] * (10 * MEGABYTES)}
    assert api.post("/v1/messages/batch", json=body).status_code == 202
    return api


def read_all(connection: socket.socket) -> int:
    """The bytes that still come."""
    read = 0
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 20):
            read += len(part)
    return read


def test_an_answer_that_nobody_reads_is_not_kept(
    full: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), speak(full, LIST) as connection:
        wait_until(lambda: "answer_not_read" in caplog.text, "the answer is given up")
        assert read_all(connection) < MEGABYTES * 1_000_000
    assert "Traceback" not in caplog.text


def test_who_reads_slowly_gets_all(full: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), speak(full, LIST) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        read = 0
        while read < MEGABYTES * 1_000_000:
            read += len(connection.recv(128 * 1024))
            time.sleep(0.01)
    assert "answer_not_read" not in caplog.text
