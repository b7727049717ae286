"""What comes over the wire and is no request, or none that is wanted, byte by byte."""

import json
import logging
import socket
import time
from http.client import HTTPResponse
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from tests.api.answers import stored
from tests.conftest import message
from tests.processes import wait_until

SECONDS = 10
BODY = json.dumps(message()).encode()
POST = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
NO_REQUESTS = {
    "no HTTP": b"hello\r\n\r\n",
    "a method of small letters": b"get / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a later HTTP": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "a space in the URL": b"GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a URL with bytes over 127": b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a URL with a NUL": b"GET /\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
    "a space in a name": b"GET / HTTP/1.1\r\nho st: localhost\r\n\r\n",
    "a NUL in a value": b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n",
    "a length that is no number": POST + b"content-length: many\r\n\r\n" + BODY,
    "a length below 0": POST + b"content-length: -1\r\n\r\n" + BODY,
    "two lengths": POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + BODY,
    "a length and chunks": CHUNKED[:-2] + b"content-length: 5\r\n\r\n0\r\n\r\n",
    "a chunk without a length": CHUNKED + BODY,
    "a chunk longer than it says": CHUNKED + b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
}


def speak(api: httpx.Client, *parts: bytes) -> socket.socket:
    """A connection on which `parts` were said."""
    connection = socket.create_connection((api.base_url.host, api.base_url.port or 0), SECONDS)
    for part in parts:
        connection.sendall(part)
    return connection


def answer_to(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of the next answer on `connection`."""
    answer = HTTPResponse(connection)
    answer.begin()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, headers, json.loads(answer.read())


@pytest.mark.parametrize("said", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
def test_what_is_no_request_is_answered_as_a_problem(shared: httpx.Client, said: bytes) -> None:
    with speak(shared, said) as connection:
        status, headers, problem = answer_to(connection)
        assert status == problem["status"] == 400
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert headers["x-content-type-options"] == "nosniff"
        assert problem["type"] == "urn:ai-memory-layer:problem:invalid-request"
        assert problem["request_id"] == headers["x-request-id"]
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"GET /v1/messages?tenant_id=", 414),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx-long: ", 431),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n", 431),
    ],
    ids=["URL", "a header", "many headers"],
)
def test_a_head_without_an_end_is_not_read_for_ever(
    shared: httpx.Client, begun: bytes, status: int
) -> None:
    more = b"x-many: 1\r\n" if begun.endswith(b"\n") else b"a"
    with speak(shared, begun) as connection:
        for _ in range(8):
            connection.sendall(more * (65_536 // len(more)))
        answered, headers, problem = answer_to(connection)
        assert answered == problem["status"] == status
        assert headers["content-type"] == "application/problem+json"


def test_a_large_body_is_no_large_head(api: httpx.Client, owner: Connection) -> None:
    body = json.dumps(message(content="x" * 90_000, metadata={"a": "y" * 16_000})).encode()
    for _ in range(5):
        assert api.post("/v1/messages", content=body, headers=JSON).status_code == 202
    assert stored(owner) == 5


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "begun",
    [
        POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY[:-1],
        POST + b"content-length: %d\r\n\r\n" % (len(BODY) + 1) + BODY,
        CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n",
        CHUNKED + b"%x\r\n" % len(BODY) + BODY[:20],
        POST + b"content-length: 9000000\r\n\r\n" + BODY,
    ],
    ids=["cut off", "longer by its length", "no last chunk", "within a chunk", "too long"],
)
def test_a_caller_who_goes_within_the_body_stores_and_breaks_nothing(
    api: httpx.Client, owner: Connection, caplog: pytest.LogCaptureFixture, begun: bytes
) -> None:
    with caplog.at_level(logging.INFO), speak(api, begun) as connection:
        time.sleep(0.2)  # So that it is a body half read, not a connection half made.
        connection.shutdown(socket.SHUT_WR)
        connection.close()
        wait_until(lambda: "endpoint='/v1/messages'" in caplog.text, "the request has ended")
    assert stored(owner) == 0
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "peanuts" not in caplog.text
    assert api.get("/v1/admin/live").status_code == 200


@pytest.mark.parametrize("offer", ["websocket", "h2c"])
def test_an_offer_of_another_protocol_is_passed_over(
    api: httpx.Client, owner: Connection, caplog: pytest.LogCaptureFixture, offer: str
) -> None:
    headers = {"connection": "upgrade", "upgrade": offer, "sec-websocket-key": "x" * 22 + "=="}
    with caplog.at_level(logging.WARNING):
        answer = api.get("/v1/messages", params={"tenant_id": "acme"}, headers=headers)
        assert answer.status_code == 200
        assert answer.json()["items"] == []
        # Java's client makes one with each request, and its body must not be lost.
        posted = api.post("/v1/messages", json=message(), headers=headers)
        assert posted.status_code == 202, posted.text
        assert api.post("/v1/messages", json=message()).status_code == 202
    assert stored(owner) == 2
    assert not caplog.records


def test_an_offer_in_one_piece_with_the_body_costs_no_byte_of_it(
    api: httpx.Client, owner: Connection
) -> None:
    said = message(content="\r\nUpgrade: h2c\r\n is what I said")
    body = msgspec.json.encode(said)
    offer = b"connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    with speak(api, POST + offer + b"content-length: %d\r\n\r\n" % len(body) + body) as connection:
        assert answer_to(connection)[0] == 202
    assert owner.scalar(text("select content from messages")) == said["content"]


def test_more_than_the_length_says_is_another_request(api: httpx.Client, owner: Connection) -> None:
    said = POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    with speak(api, said) as connection:
        assert answer_to(connection)[0] == 202
        connection.sendall(b"and more\r\n\r\n")
        assert answer_to(connection)[0] == 400
    assert stored(owner) == 1


def test_a_body_that_is_said_to_be_zipped_is_a_415(api: httpx.Client, owner: Connection) -> None:
    for encoding in ("gzip", "br", "deflate"):
        answer = api.post(
            "/v1/messages", content=BODY, headers={**JSON, "content-encoding": encoding}
        )
        assert answer.status_code == 415, encoding
        assert answer.json()["detail"]
    assert stored(owner) == 0
