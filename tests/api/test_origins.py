"""Which web pages may read the answers."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.conftest import message, serving

APP = "https://app.example"
EVIL = {"Origin": "https://evil.example"}
KEY = {"x-api-key": "key-one"}
ALLOWED = "access-control-allow-origin"


@pytest.fixture(scope="module")
def keyed(shared_settings: Settings) -> Iterator[httpx.Client]:
    """A service with a key, for the pages of one origin, with room for no request."""
    with serving(
        msgspec.structs.replace(
            shared_settings,
            api_keys="key-one",
            allowed_origins=f"{APP}, http://localhost:3000",
        )
    ) as client:
        yield client


@pytest.fixture(scope="module")
def listing(shared_settings: Settings) -> Iterator[httpx.Client]:
    """A service without keys, for the pages of one origin and, so it is hoped, of any."""
    settings = msgspec.structs.replace(shared_settings, allowed_origins=f"*, {APP}")
    with serving(settings) as client:
        yield client


def every_answer(api: httpx.Client, **headers: str) -> list[tuple[int, httpx.Response]]:
    """Answers of the handlers, of the framework and of the gate, each with its status."""
    return [
        (200, api.get("/v1/admin/live", headers=headers)),
        (200, api.post("/v1/messages", json=message(), headers=headers | KEY)),
        (415, api.post("/v1/messages", content=b"{", headers=headers | KEY)),
        (404, api.get("/nowhere", headers=headers | KEY)),
        (405, api.delete("/v1/memory/search", headers=headers | KEY)),
        (200, api.get("/docs/openapi.json", headers=headers)),
        (431, api.get("/v1/admin/live", headers={**headers, "x-large": "v" * 40_000})),
    ]


def test_a_page_of_an_allowed_origin_reads_every_answer(keyed: httpx.Client) -> None:
    refused = keyed.post("/v1/messages", json=message(), headers={"Origin": APP})
    for status, answer in [*every_answer(keyed, Origin=APP), (401, refused)]:
        assert answer.status_code == status
        assert answer.headers.get_list(ALLOWED) == [APP]
        assert "Origin" in answer.headers.get_list("vary")
        assert "access-control-allow-credentials" not in answer.headers
        readable = answer.headers["access-control-expose-headers"].split(", ")
        assert {"X-Request-ID", "Retry-After", "Idempotency-Replayed", "Location"} < {*readable}
        assert {f"X-RateLimit-{name}" for name in ("Limit", "Remaining", "Reset")} < {*readable}


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:444",
        "https://APP.example",
        "null",
        "*",
        "",
    ],
)
def test_a_page_of_another_origin_reads_none(keyed: httpx.Client, origin: str) -> None:
    for status, answer in every_answer(keyed, Origin=origin):
        assert answer.status_code == status
        assert ALLOWED not in answer.headers
        assert "Origin" in answer.headers.get_list("vary")


def test_who_is_no_page_is_told_that_answers_differ(keyed: httpx.Client) -> None:
    answer = keyed.get("/v1/admin/live")
    assert (answer.headers.get(ALLOWED), answer.headers["vary"]) == (None, "Origin")


def preflight(api: httpx.Client, path: str, origin: str, **headers: Any) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key,content-type",
    }
    return api.options(path, headers=asked | headers)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/memory/search", "/nowhere"])
def test_a_browser_may_ask_before_it_sends_a_key(keyed: httpx.Client, path: str) -> None:
    answer = preflight(keyed, path, APP)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers.get_list(ALLOWED) == [APP]
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    wanted = {"x-api-key", "authorization", "content-type", "idempotency-key", "x-request-id"}
    assert wanted < {*allowed}
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
    assert ALLOWED not in preflight(keyed, path, EVIL["Origin"]).headers


def test_without_origins_nothing_is_said_about_them(shared: httpx.Client) -> None:
    for answer in (shared.get("/v1/admin/live", headers=EVIL), preflight(shared, "/nowhere", APP)):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "vary" not in answer.headers


def test_with_keys_an_asterisk_allows_every_page(shared_settings: Settings) -> None:
    settings = msgspec.structs.replace(shared_settings, allowed_origins="*", api_keys="key-one")
    with serving(settings) as api:
        for status, answer in every_answer(api, **EVIL):
            assert answer.status_code == status
            assert answer.headers.get_list(ALLOWED) == ["*"]
            assert "access-control-allow-credentials" not in answer.headers
        assert preflight(api, "/v1/messages", EVIL["Origin"]).headers[ALLOWED] == "*"


def test_without_keys_an_asterisk_allows_none(listing: httpx.Client) -> None:
    assert ALLOWED not in listing.get("/v1/admin/live", headers=EVIL).headers
    assert ALLOWED not in listing.get("/v1/admin/live", headers={"Origin": "*"}).headers
    assert ALLOWED not in preflight(listing, "/v1/messages", EVIL["Origin"]).headers
    named = listing.post("/v1/messages", json=message(), headers={"Origin": APP})
    assert (named.status_code, named.headers[ALLOWED]) == (200, APP)


def test_an_asterisk_without_effect_is_said_at_the_start(shared_settings: Settings) -> None:
    with capture_logs() as lines:
        settings = msgspec.structs.replace(shared_settings, allowed_origins="*")
        with serving(settings):
            pass
    assert [each["log_level"] for each in lines if each["event"] == "any_origin_without_keys"] == [
        "warning"
    ]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_without_keys_a_page_of_elsewhere_changes_nothing(
    listing: httpx.Client, method: str, origin: str
) -> None:
    # A browser would send it without asking first: it has no body of JSON.
    answer = listing.request(method, "/v1/retention/run", headers={"Origin": origin})
    assert_problem(answer, 403, "forbidden")


def test_without_keys_a_page_of_ours_may_change_things(listing: httpx.Client) -> None:
    own = str(listing.base_url).rstrip("/")
    for origin in (own, APP):
        answer = listing.post("/v1/messages", json=message(), headers={"Origin": origin})
        assert answer.status_code == 200


def test_with_a_key_it_is_the_key_that_counts(keyed: httpx.Client) -> None:
    assert keyed.post("/v1/messages", json=message(), headers=EVIL | KEY).status_code == 200
