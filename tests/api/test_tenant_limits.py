"""Whatever is asked of a tenant is one request to it, and nothing to any other."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection

from memory.settings import Settings
from tests.api.issuing import OPERATOR, closed, issue, sent
from tests.conftest import message, serving
from tests.db.rows import add_job

ALLOWED = 1000
ADMIN = "/v1/admin"
Asked = tuple[str, str, dict[str, Any]]


@pytest.fixture
def counted(settings: Settings) -> Iterator[httpx.Client]:
    """A service that counts the requests to each tenant, and nothing else."""
    given = msgspec.structs.replace(closed(settings), tenant_rate_limit=f"{ALLOWED}/hour")
    with serving(given) as client:
        client.headers.update(OPERATOR)
        yield client


def left(api: httpx.Client, tenant_id: str = "acme") -> int:
    """What is left to a tenant after one more request."""
    answer = api.get("/v1/messages", params={"tenant_id": tenant_id})
    return int(answer.headers["x-ratelimit-remaining"])


def every_request(message_id: str, job_id: str) -> list[Asked]:
    """A request of each kind that is about `acme`."""
    own, query = {"tenant_id": "acme"}, {"tenant_id": "acme", "query": "peanuts"}
    tenant = f"{ADMIN}/tenants/acme"
    return [
        ("POST", "/v1/messages", {"json": message()}),
        ("POST", "/v1/messages", {"json": message(), "headers": {"Idempotency-Key": "k"}}),
        ("POST", "/v1/messages", {"json": message(), "headers": {"Idempotency-Key": "k"}}),
        ("POST", "/v1/messages/batch", {"json": {"messages": [message()] * 3}}),
        ("GET", "/v1/messages", {"params": own}),
        ("GET", f"/v1/messages/{message_id}", {}),
        ("GET", f"/v1/messages/{message_id}", {"params": own}),
        ("POST", f"/v1/messages/{message_id}/pin", {}),
        ("POST", f"/v1/messages/{message_id}/unpin", {"params": own}),
        ("POST", f"/v1/messages/{message_id}/restore", {}),
        ("GET", "/v1/memory/search", {"params": query}),
        ("POST", "/v1/memory/search", {"json": {**own, "queries": ["a", "b", "c"]}}),
        *(("GET", f"{tenant}/{what}", {}) for what in ("settings", "policy")),
        *(("PUT", f"{tenant}/{what}", {"json": {}}) for what in ("settings", "policy")),
        *(("DELETE", f"{tenant}/{what}", {}) for what in ("settings", "policy")),
        ("POST", f"{ADMIN}/retention/run", {"json": {**own, "dry_run": True}}),
        ("POST", f"{ADMIN}/importance/run", {"json": own}),
        ("POST", f"{ADMIN}/embeddings/retry", {"json": own}),
        ("GET", f"{ADMIN}/audit", {"params": own}),
        ("GET", "/v1/jobs", {"params": own}),
        ("GET", f"/v1/jobs/{job_id}", {}),
        ("GET", f"/v1/jobs/{job_id}/events", {}),
        ("POST", f"/v1/jobs/{job_id}/cancel", {}),
        ("POST", f"/v1/jobs/{job_id}/retry", {}),
    ]


def test_each_request_to_a_tenant_is_one(counted: httpx.Client, owner: Connection) -> None:
    message_id = counted.post("/v1/messages", json=message()).json()["id"]
    asked = every_request(message_id, add_job(owner, state="completed"))
    before = left(counted)
    for method, path, given in asked:
        answer = counted.request(method, path, **given)
        assert answer.status_code < 500, (path, answer.text)
        assert answer.headers.get("x-ratelimit-limit") == str(ALLOWED), (method, path)
        now = int(answer.headers["x-ratelimit-remaining"])
        assert before - now == 1, (method, path)
        before = now


def test_what_is_about_no_tenant_is_no_tenants(counted: httpx.Client, owner: Connection) -> None:
    add_job(owner, "*", state="completed")
    before = left(counted)
    for path in ("/v1/jobs", f"{ADMIN}/audit", f"{ADMIN}/keys", f"{ADMIN}/embeddings", "/nowhere"):
        assert "x-ratelimit-limit" not in counted.get(path).headers
    assert left(counted) == before - 1


def test_nobody_uses_up_anothers_limit(counted: httpx.Client, owner: Connection) -> None:
    message_id = counted.post("/v1/messages", json=message()).json()["id"]
    stranger = sent(issue(counted, "globex", scopes=["read", "write", "admin"]))
    asked = every_request(message_id, add_job(owner, state="completed"))
    before = left(counted)
    for method, path, given in asked:
        headers = {**given.get("headers", {}), **stranger}
        answer = counted.request(method, path, **{**given, "headers": headers})
        assert answer.status_code in {403, 404}, (path, answer.text)
    # Nor by a batch that is for others too.
    both = {"messages": [message(tenant_id="globex"), message()]}
    assert counted.post("/v1/messages/batch", json=both, headers=stranger).status_code == 403
    assert left(counted) == before - 1
    assert left(counted, "globex") == ALLOWED - 1
