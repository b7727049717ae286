"""Limits by address, key and tenant, seen from outside: who is refused, when and with what."""

import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from litestar.types import HTTPScope
from sqlalchemy import Connection

from api.entrance import address_of
from memory.settings import Settings
from tests.api.answers import assert_problem, stored
from tests.api.issuing import OPERATOR, OPERATOR_KEY, closed, issue, sent
from tests.conftest import UNLIMITED, message, serving

PROBES = ("/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness", "/metrics")
JOBS = "/v1/jobs"
NAMES = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@contextmanager
def limited(settings: Settings, **limits: str) -> Iterator[httpx.Client]:
    """A service with an operator key and these limits alone; its client sends the key."""
    given = msgspec.structs.replace(closed(settings), **{**UNLIMITED, **limits})
    with serving(given) as client:
        client.headers.update(OPERATOR)
        yield client


def standing(answer: httpx.Response) -> tuple[int, int, int]:
    """What an answer tells of a limit: how much it allows, what is left, when all is again."""
    allowed, left, reset = (int(answer.headers[name]) for name in NAMES)
    return allowed, left, reset


def silent(answer: httpx.Response) -> bool:
    """Whether an answer tells of no limit."""
    return not set(NAMES) & set(answer.headers)


def assert_refused(answer: httpx.Response, what: str) -> int:
    """The seconds to wait, of a 429 that is about `what`."""
    problem = assert_problem(answer, 429, "too-many-requests")
    assert problem["detail"].startswith(f"Too many {what}: the limit is ")
    assert standing(answer)[1] == 0
    return int(answer.headers["retry-after"])


def batch(*tenants: str) -> dict[str, Any]:
    """A batch with a message for each of `tenants`."""
    return {"messages": [message(tenant_id=each) for each in tenants]}


def test_an_address_has_its_limit(settings: Settings) -> None:
    with limited(settings, global_rate_limit="3/2 seconds") as api:
        for left in (2, 1, 0):
            assert standing(api.get(JOBS))[:2] == (3, left)
        answer = api.get(JOBS)
        wait = assert_refused(answer, "requests from this address")
        assert "3/2 seconds" in answer.json()["detail"]
        assert 1 <= wait <= 3
        # What it says is true: the same request passes then, and not for want of trying.
        time.sleep(wait)
        assert api.get(JOBS).status_code == 200


@pytest.mark.parametrize("path", PROBES)
def test_who_looks_after_the_service_is_never_refused(settings: Settings, path: str) -> None:
    for keys in (OPERATOR_KEY, ""):
        given = closed(
            settings, api_keys=keys, global_rate_limit="1/hour", auth_failure_limit="1/hour"
        )
        with serving(given) as api:
            api.get("/nowhere", headers=OPERATOR)
            assert api.get("/nowhere", headers=OPERATOR).status_code == 429
            for _ in range(3):
                answer = api.get(path)
                assert answer.status_code == 200
                assert silent(answer)


def test_private_metrics_are_for_operators_however_often(settings: Settings) -> None:
    given = closed(settings, metrics_public=False, global_rate_limit="1/hour")
    with serving(given) as api:
        for _ in range(3):
            assert api.get("/metrics", headers=OPERATOR).status_code == 200
        # Who has no key is not told, and counts.
        assert api.get("/metrics").status_code == 401
        assert api.get("/metrics").status_code == 429


def test_what_is_public_but_no_probe_counts(settings: Settings) -> None:
    with limited(settings, global_rate_limit="2/hour") as api:
        assert standing(api.get("/docs"))[:2] == (2, 1)
        assert standing(api.options(JOBS))[:2] == (2, 0)
        assert api.get("/docs").status_code == 429


def test_nothing_of_the_body_is_read_first(settings: Settings) -> None:
    with limited(settings, global_rate_limit="1/hour") as api:
        api.get(JOBS)
        place = (str(api.base_url.host), api.base_url.port or 0)
        with socket.create_connection(place, timeout=10) as connection:
            connection.sendall(
                b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: operator-one\r\n"
                b"content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{"
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 429 ")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("no:address", "no:address"),
    ],
)
def test_a_household_is_one_address(host: str, address: str) -> None:
    scope: Any = {"client": (host, 1)}
    assert address_of(scope) == address


def test_without_a_client_there_is_no_address() -> None:
    scope: Any = {"client": None}
    told: HTTPScope = scope
    assert address_of(told) == "unknown"


def test_what_is_forwarded_counts_from_trusted_proxies_alone(settings: Settings) -> None:
    def ask(api: httpx.Client, address: str) -> int:
        return api.get(JOBS, headers={"X-Forwarded-For": address}).status_code

    with limited(settings, global_rate_limit="1/hour", trusted_proxies="127.0.0.1") as api:
        assert [ask(api, "203.0.113.9"), ask(api, "203.0.113.9")] == [200, 429]
        assert [ask(api, "198.51.100.7"), ask(api, "198.51.100.7, 203.0.113.9")] == [200, 429]
        assert [ask(api, "2001:db8::1"), ask(api, "2001:db8::ffff:2")] == [200, 429]
    with limited(settings, global_rate_limit="1/hour") as api:
        assert [ask(api, "203.0.113.9"), ask(api, "198.51.100.7")] == [200, 429]


def test_each_key_has_the_limit_or_its_own(settings: Settings) -> None:
    with serving(closed(settings)) as api:
        plain, other = issue(api), issue(api)
        strict, free = issue(api, rate_limit="1/hour"), issue(api, rate_limit="")
    with limited(settings, key_rate_limit="2/hour") as api:
        for key, statuses in (
            (sent(plain), [200, 200, 429]),
            (sent(other), [200, 200, 429]),
            (sent(strict), [200, 429, 429]),
            (sent(free), [200, 200, 200]),
            # An operator's key is a key.
            (OPERATOR, [200, 200, 429]),
        ):
            assert [api.get(JOBS, headers=key).status_code for _ in range(3)] == statuses
        assert_refused(api.get(JOBS, headers=sent(strict)), "requests with this key")
        assert silent(api.get(JOBS, headers=sent(free)))


def test_what_a_caller_can_vary_changes_nothing(settings: Settings) -> None:
    with limited(settings, tenant_rate_limit="2/hour") as api:
        varied: list[dict[str, Any]] = [
            {"params": {"tenant_id": "other"}},
            {"headers": {"X-Tenant": "other", "X-Tenant-ID": "other"}},
            {"headers": {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}},
            {"headers": {"X-Forwarded-For": "198.51.100.7", "X-Tenant-ID": "another"}},
        ]
        found = [api.post("/v1/messages", json=message(), **each) for each in varied]
        assert [answer.status_code for answer in found] == [400, 200, 200, 429]


def test_a_tenant_has_its_limit(settings: Settings, owner: Connection) -> None:
    with limited(settings, tenant_rate_limit="3/hour") as api:
        assert silent(api.get(JOBS))
        assert standing(api.post("/v1/messages", json=message()))[:2] == (3, 2)
        # However many messages it has, a batch is one request to each of its tenants.
        together = batch("acme", "acme", "acme", "globex")
        assert standing(api.post("/v1/messages/batch", json=together))[:2] == (3, 1)
        found = api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "x"})
        assert standing(found)[:2] == (3, 0)
        for answer in (
            api.post("/v1/messages", json=message()),
            api.post("/v1/messages/batch", json=batch("globex", "acme")),
            api.get("/v1/messages", params={"tenant_id": "acme"}),
        ):
            assert_refused(answer, "requests for this tenant")
        # Of the batch that was refused nothing counts, for nobody.
        assert standing(api.post("/v1/messages", json=message(tenant_id="globex")))[:2] == (3, 1)
        assert stored(owner) == 6


def test_messages_have_a_limit_of_their_own(settings: Settings, owner: Connection) -> None:
    with limited(settings, tenant_message_limit="5/2 seconds") as api:
        assert standing(api.post("/v1/messages", json=message()))[:2] == (5, 4)
        assert silent(api.get("/v1/messages", params={"tenant_id": "acme"}))
        kept = api.post("/v1/messages/batch", json=batch(*["acme"] * 3, *["globex"] * 2))
        assert standing(kept)[:2] == (5, 1)
        refused = batch("acme", "acme")
        answer = api.post("/v1/messages/batch", json=refused)
        # One is left, which two are too many for.
        assert answer.status_code == 429
        assert standing(answer)[1] == 1
        time.sleep(int(answer.headers["retry-after"]))
        assert api.post("/v1/messages/batch", json=refused).status_code == 200
        before = stored(owner)
        never = api.post("/v1/messages/batch", json=batch(*["acme"] * 6))
        assert_problem(never, 400, "invalid-request", "messages")
        assert "5/2 seconds" in never.json()["detail"]
        assert "retry-after" not in never.headers
        assert stored(owner) == before == 8


def test_an_answer_tells_of_the_limit_that_is_nearest_its_end(settings: Settings) -> None:
    limits = {"global_rate_limit": "10/hour; 100/day", "tenant_rate_limit": "4/minute"}
    with limited(settings, **limits, key_rate_limit="80/second") as api:
        assert standing(api.get("/docs"))[:2] == (10, 9)
        assert standing(api.get("/nowhere"))[:2] == (10, 8)
        stored = api.post("/v1/messages", json=message())
        allowed, left, reset = standing(stored)
        assert (allowed, left) == (10, 7)
        assert 3600 <= reset <= math.ceil(3600 * 65 / 64)
        for _ in range(2):
            stored = api.post("/v1/messages", json=message())
        assert standing(stored)[:2] == (4, 1)
        # An error is an answer too.
        assert standing(api.post("/v1/messages", json={}))[0] == 10


def test_an_empty_value_is_no_limit(settings: Settings) -> None:
    with limited(settings) as api:
        for answer in (api.get(JOBS), api.post("/v1/messages", json=message()), api.get("/docs")):
            assert answer.is_success
            assert silent(answer)
        own = issue(api, rate_limit="1/hour")
        assert standing(api.get(JOBS, headers=sent(own)))[:2] == (1, 0)
