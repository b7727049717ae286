"""How large a request may be, and how many are answered at a time."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from sqlalchemy import Connection

from api.admission import HEADERS_MAX_BYTES
from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.conftest import message, serving
from tests.db.rows import add_job
from tests.processes import wait_until

POST = (
    b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"%sContent-Length: %d\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROBES = ("/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness", "/metrics")


def header_bytes(api: httpx.Client, **headers: str) -> int:
    request = api.build_request("GET", "/v1/admin/live", headers=headers)
    return sum(len(name) + len(value) + 4 for name, value in request.headers.raw)


def test_headers_up_to_32_kib_are_read(shared: httpx.Client) -> None:
    room = HEADERS_MAX_BYTES - header_bytes(shared, x="")
    assert shared.get("/v1/admin/live", headers={"x": "v" * room}).status_code == 200
    for headers in (
        {"x": "v" * (room + 1)},
        {f"x-{number}": "v" * 8 for number in range(3_000)},
    ):
        answer = shared.get("/v1/admin/live", headers=headers)
        assert_problem(answer, 431, "headers-too-large")


@pytest.mark.parametrize(
    ("length", "status"), [(65_535, 404), (65_536, 414), (65_600, 414), (190_000, 414)]
)
@pytest.mark.parametrize("path", ["/nowhere", "/nowhere?x=%C3%A4&y="])
def test_a_url_under_64_kib_is_read(
    shared: httpx.Client, path: str, length: int, status: int
) -> None:
    # The client that the other tests use has a limit of its own.
    caller = http.client.HTTPConnection(shared.base_url.host, shared.base_url.port or 80)
    with contextlib.closing(caller):
        caller.request("GET", path + "v" * (length - len(path)))
        answer = caller.getresponse()
        assert answer.status == status
        if status == 414:
            assert json.load(answer)["type"] == "urn:ai-memory-layer:problem:url-too-long"
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_too_large_is_looked_at_no_further(shared_settings: Settings) -> None:
    keyed = msgspec.structs.replace(shared_settings, api_keys="key-one")
    with serving(keyed) as api:
        large = {"x": "v" * 40_000}
        assert api.post("/v1/messages", json=message(), headers=large).status_code == 431


@pytest.fixture(scope="module")
def narrow(shared_settings: Settings) -> Iterator[httpx.Client]:
    """A service that answers one request at a time."""
    with serving(msgspec.structs.replace(shared_settings, request_max_in_flight=1)) as client:
        yield client


@contextlib.contextmanager
def posting(api: httpx.Client, body: bytes, more: bytes = b"") -> Iterator[socket.socket]:
    """A connection on which a POST has been begun whose body, `body`, is still to come."""
    address = (api.base_url.host, api.base_url.port or 80)
    with socket.create_connection(address, timeout=20) as caller:
        caller.sendall(POST % (more, len(body)))
        yield caller


@contextlib.contextmanager
def taking_a_place(api: httpx.Client, body: bytes) -> Iterator[socket.socket]:
    """As `posting`, once the service waits for the body: a place may be free a moment later."""
    while True:
        with posting(api, body, b"Expect: 100-continue\r\n") as caller:
            if caller.recv(len(CONTINUE), socket.MSG_WAITALL) == CONTINUE:
                yield caller
                return


def status(caller: socket.socket) -> int:
    """The status of the next answer, read up to its last byte."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += caller.recv(65_536)
    head, _, rest = answer.partition(b"\r\n\r\n")
    (length,) = (
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(rest) < length:
        rest += caller.recv(65_536)
    return int(head.split()[1])


def is_full(api: httpx.Client) -> bool:
    return api.get("/v1/messages/nothing").status_code == 503


def test_one_more_request_is_told_to_come_back(narrow: httpx.Client) -> None:
    body = json.dumps(message()).encode()
    with taking_a_place(narrow, body) as caller:
        assert is_full(narrow)
        assert_problem(narrow.post("/v1/messages", json=message()), 503, "busy")
        assert_problem(narrow.get("/nowhere"), 503, "busy")
        # How the service is can be asked all the same.
        assert [narrow.get(path).status_code for path in PROBES] == [200] * 4
        caller.sendall(body)
        assert status(caller) == 200
    assert narrow.post("/v1/messages", json=message()).status_code == 200


def test_who_is_told_so_need_not_have_sent_the_body(
    narrow: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.exchange.LINGER_SECONDS", 60)
    body = json.dumps(message()).encode()
    with taking_a_place(narrow, body) as first:
        assert is_full(narrow)
        with posting(narrow, body) as second:
            assert status(second) == 503
            first.sendall(body)
            assert status(first) == 200
            # Who sends it late is not cut off, and may ask again on the same connection.
            second.sendall(body)
            second.sendall(b"GET /v1/admin/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status(second) == 200


def test_a_place_is_free_again_whatever_came_of_the_request(narrow: httpx.Client) -> None:
    for _ in range(3):
        with taking_a_place(narrow, b"x" * 100) as caller:
            assert is_full(narrow)
            caller.sendall(b"x")
        # The caller has gone in the middle.
        wait_until(lambda: not is_full(narrow), "its place is free")
        assert narrow.post("/v1/messages", content=b"{").status_code == 415
        assert narrow.get("/v1/admin/live", headers={"Host": "evil.example"}).status_code == 403


def test_who_watches_takes_no_place(settings: Settings, owner: Connection) -> None:
    job = add_job(owner, state="running")
    with serving(msgspec.structs.replace(settings, request_max_in_flight=1)) as api:
        with contextlib.ExitStack() as watchers:
            for _ in range(3):
                path = f"/v1/jobs/{job}/events"
                answer = watchers.enter_context(api.stream("GET", path))
                assert answer.status_code == 200
            assert api.post("/v1/messages", json=message()).status_code == 202
        assert not is_full(api)
        body = json.dumps(message()).encode()
        with taking_a_place(api, body) as caller:
            assert is_full(api), "there is one place, not one more for each watcher"
            caller.sendall(body)
            assert status(caller) == 202
