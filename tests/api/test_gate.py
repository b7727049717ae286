"""What every request passes: ids, keys, hosts, the clock, logs and metrics."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from api.door import host_name
from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.conftest import message, serving

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
KEY = {"x-api-key": "key-one"}


@pytest.fixture(scope="module")
def keyed(shared_settings: Settings) -> Iterator[httpx.Client]:
    """A service with keys, for all the questions of this file."""
    settings = msgspec.structs.replace(
        shared_settings, api_keys=" key-one, key-two", allowed_origins="https://app.example"
    )
    with serving(settings) as client:
        yield client


def test_an_answer_has_an_id_of_its_own(shared: httpx.Client) -> None:
    ids = {shared.get("/v1/admin/live").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(UUID7.fullmatch(each) for each in ids)


@pytest.mark.parametrize("given", ["a", "01a1fd3d-0a8d-7280", "A.b_c:d-1", "x" * 64])
def test_a_callers_id_is_kept(shared: httpx.Client, given: str) -> None:
    for path in ("/v1/admin/live", "/nowhere"):
        answer = shared.get(path, headers={"X-Request-ID": given})
        assert answer.headers.get_list("x-request-id") == [given]
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, '"}', b"\xff\xfe"])
def test_an_id_that_could_do_harm_is_replaced(shared: httpx.Client, given: str | bytes) -> None:
    headers: Any = {"X-Request-ID": given}
    answer = shared.get("/v1/admin/live", headers=headers)
    assert UUID7.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v2/messages", "/docs/nothing", "/docs/assets/x.js"]
)
def test_no_such_path(shared: httpx.Client, path: str) -> None:
    assert_problem(shared.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/messages", "POST"),
        ("DELETE", "/v1/memory/search", "GET"),
        ("GET", "/v1/messages/batch", "POST"),
        ("POST", "/v1/admin/health", "GET"),
    ],
)
def test_a_method_that_a_path_does_not_take(
    shared: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = shared.request(method, path)
    assert_problem(answer, 405, "method-not-allowed")
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_no_method_is_an_error_of_ours(shared: httpx.Client, method: str) -> None:
    for path in ("/v1/messages", "/v1/admin/live", "/nowhere", "/docs"):
        assert shared.request(method, path).status_code in {200, 204, 404, 405}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "key-one"},
        {"X-API-Key": "key-two"},
        {"Authorization": "Bearer key-one"},
        {"Authorization": "bearer  key-two"},
    ],
)
def test_a_key_opens(keyed: httpx.Client, headers: dict[str, str]) -> None:
    answer = keyed.post("/v1/messages", json=message(), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "key-three"},
        {"x-api-key": "key-one, key-two"},
        {"x-api-key": "KEY-ONE"},
        {"Authorization": "key-one"},
        {"Authorization": "Basic key-one"},
        {"Authorization": "Bearer"},
        {"x-api-key": "ключ".encode()},
    ],
)
def test_without_a_key_it_is_closed(keyed: httpx.Client, headers: Any) -> None:
    for method, path in (
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/batch"),
        ("GET", "/v1/messages/x"),
        ("GET", "/v1/memory/search"),
        ("GET", "/nowhere"),
        ("GET", "/v1/admin/live/../../messages"),
        ("GET", "//v1/messages"),
        ("GET", "/metricsx"),
    ):
        answer = keyed.request(method, path, headers=headers)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/admin/live",
        "/v1/admin/health",
        "/v1/admin/readiness",
        "/docs",
        "/docs/openapi.json",
        "/metrics",
    ],
)
def test_what_is_public_needs_no_key(keyed: httpx.Client, path: str) -> None:
    assert keyed.get(path, headers={"Host": "memory.example"}).status_code == 200


def test_with_a_key_any_host_name_serves(keyed: httpx.Client) -> None:
    parameters = {"tenant_id": "acme", "query": "x"}
    headers = {**KEY, "Host": "memory.example"}
    assert keyed.get("/v1/memory/search", params=parameters, headers=headers).status_code == 200


def test_a_page_of_an_allowed_origin_may_ask(keyed: httpx.Client) -> None:
    asking = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    answer = keyed.options("/v1/messages", headers=asking)
    assert answer.status_code in {200, 204}
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    strange = keyed.options("/v1/messages", headers={**asking, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in strange.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8000", "[::1]:8000"])
def test_without_keys_this_machine_is_served(shared: httpx.Client, host: str) -> None:
    assert shared.get("/v1/admin/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "", "a@localhost"],
)
def test_without_keys_another_host_name_is_not(shared: httpx.Client, host: str) -> None:
    for path in ("/v1/admin/live", "/docs", "/metrics", "/v1/messages/x"):
        assert_problem(shared.get(path, headers={"Host": host}), 403, "forbidden")


def test_without_keys_and_not_on_loopback_only_the_public_is_served(
    shared_settings: Settings,
) -> None:
    # The socket of the test is on loopback all the same.
    exposed = msgspec.structs.replace(shared_settings, api_host="0.0.0.0")
    with serving(exposed) as api:
        assert api.get("/v1/admin/live").status_code == 200
        for headers in ({}, {"x-api-key": ""}, KEY):
            answer = api.post("/v1/messages", json=message(), headers=headers)
            assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    ("host", "name"),
    [("a:1", "a"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("A.B", "a.b"), ("", "")],
)
def test_host_names(host: str, name: str) -> None:
    assert host_name(host) == name


def test_a_request_is_one_line_in_the_log_without_what_was_said(api: httpx.Client) -> None:
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        body = message(content="peanuts", metadata={"a": "cashews"}, conversation_id="walnuts")
        posted = api.post("/v1/messages", json=body, headers={"X-Request-ID": "line-1"})
        api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "almonds"})
        api.post("/v1/messages", content=b'{"content": "hazelnuts"')
        api.get(f"/v1/messages/{posted.json()['id']}?token=pecans")
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["endpoint"], line["status"]) for line in requests] == [
        ("POST", "/v1/messages", 202),
        ("GET", "/v1/memory/search", 200),
        ("POST", "/v1/messages", 415),
        ("GET", "/v1/messages/{message_id}", 400),
    ]
    first = requests[0]
    assert (first["request_id"], first["tenant_id"]) == ("line-1", "acme")
    assert first["bytes"] == len(posted.content)
    assert first["milliseconds"] > 0
    assert not re.search(r"peanuts|cashews|walnuts|almonds|hazelnuts|pecans", repr(lines))


def test_an_error_of_ours_tells_the_caller_nothing_and_the_log_all(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> None:
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr("api.messages.message_from_row", break_down)
    id_ = api.post("/v1/messages", json=message()).json()["id"]
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        answer = api.get(f"/v1/messages/{id_}", headers={"X-Request-ID": "broken-1"})
    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    (failed,) = (line for line in lines if line["event"] == "request_failed")
    assert failed["request_id"] == "broken-1"
    assert isinstance(failed["exc_info"], RuntimeError)


def test_many_and_large_headers(shared: httpx.Client) -> None:
    headers = {f"x-{number}": "v" * 50 for number in range(500)}
    assert shared.get("/v1/admin/live", headers=headers).status_code == 200


def test_the_line_of_who_is_refused_says_from_where(keyed: httpx.Client) -> None:
    with capture_logs() as lines:
        keyed.get("/v1/messages", params={"tenant_id": "acme"}, headers={"x-api-key": "bad"})
        keyed.get("/v1/messages", params={"tenant_id": "acme"}, headers=KEY)
    refused, answered = (line for line in lines if line["event"] == "request")
    assert (refused["status"], refused["address"]) == (401, "127.0.0.1")
    assert (answered["status"], "address" in answered) == (200, False)
