"""What the API counts, under labels whose number is bounded."""

import httpx
import msgspec

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.conftest import message, serving


def counts(api: httpx.Client) -> dict[str, float]:
    """The series of `/metrics`, by name and labels."""
    lines = api.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_metrics_count_by_the_routes_template(api: httpx.Client) -> None:
    id_ = api.post("/v1/messages", json=message()).json()["id"]
    api.get(f"/v1/messages/{id_}")
    api.get("/v1/messages/nonsense")
    api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "x"})
    found = counts(api)
    for labels in (
        'endpoint="/v1/messages",method="POST",status="202"',
        'endpoint="/v1/messages/{message_id}",method="GET",status="200"',
        'endpoint="/v1/messages/{message_id}",method="GET",status="400"',
        'endpoint="/v1/memory/search",method="GET",status="200"',
    ):
        assert found[f"http_requests_total{{{labels}}}"] == 1
    timed = 'http_request_duration_seconds_count{endpoint="/v1/messages",method="POST"}'
    assert found[timed] == 1
    assert found["messages_created_total"] == 1
    assert found["memory_searches_total"] == 1
    assert found["embedding_generation_duration_seconds_count"] == 1
    assert found["publish_dropped_total"] == 0


def test_an_unknown_path_makes_no_label(api: httpx.Client) -> None:
    for path in ("/secret-1", "/v1/secret-2", "/docs/secret-3", "/v1/messages/secret-4"):
        api.get(path)
    assert "secret" not in api.get("/metrics").text
    unmatched = 'http_requests_total{endpoint="unmatched",method="GET",status="404"}'
    assert counts(api)[unmatched] == 2


def test_a_batch_and_a_replay_are_counted_as_what_they_store(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        body = {"messages": [message()] * 3}
        api.post("/v1/messages/batch", json=body, headers=headers)
    assert counts(api)["messages_created_total"] == 3


def test_metrics_can_be_off(shared_settings: Settings) -> None:
    with serving(msgspec.structs.replace(shared_settings, metrics_enabled=False)) as api:
        assert_problem(api.get("/metrics"), 404, "not-found")
