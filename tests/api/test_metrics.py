"""What the API counts, under labels whose number is bounded."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from api.metrics import LEGS
from cli.valkey import EmbeddedValkey
from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.outages import no_database
from tests.api.redis_outages import OwnUser
from tests.conftest import message, serving
from tests.metrics_pages import series
from tests.processes import wait_until


def counts(api: httpx.Client) -> dict[str, float]:
    """The series of `/metrics`, by name and labels."""
    return series(api.get("/metrics").text)


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


def test_tenants_have_names_only_when_they_are_to_have_and_only_so_many(
    shared_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_tenant(settings: Settings) -> dict[str, float]:
        with serving(settings) as api:
            for tenant_id in ("acme", "globex", "initech", "acme"):
                api.post("/v1/messages", json=message(tenant_id=tenant_id))
                api.get("/v1/memory/search", params={"tenant_id": tenant_id, "query": "x"})
            return {name: n for name, n in counts(api).items() if "tenant=" in name}

    assert by_tenant(shared_settings) == {}
    monkeypatch.setattr("api.metrics.NAMED_TENANTS", 2)
    shown = {"acme": 2, "globex": 1, "(others)": 1}
    assert by_tenant(msgspec.structs.replace(shared_settings, metrics_tenants=True)) == {
        f'tenant_{what}_total{{tenant="{tenant_id}"}}': n
        for what in ("messages_created", "searches")
        for tenant_id, n in shown.items()
    }


def test_each_leg_of_a_search_is_timed(api: httpx.Client) -> None:
    def timed() -> dict[str, float]:
        found = counts(api)
        name = 'memory_search_duration_seconds_count{{leg="{}"}}'
        return {leg: found[name.format(leg)] for leg in LEGS}

    params: dict[str, Any] = {"tenant_id": "acme", "query": "x"}
    api.post("/v1/messages", json=message())
    api.get("/v1/memory/search", params=params)
    assert timed() == {"embed": 1, "find": 1, "rerank": 0, "dress": 1}
    api.get("/v1/memory/search", params={**params, "mode": "lexical"})
    assert timed() == {"embed": 1, "find": 2, "rerank": 0, "dress": 2}


def test_the_parts_show_how_they_are(settings: Settings, valkey: EmbeddedValkey) -> None:
    user = OwnUser(valkey.url)
    own = msgspec.structs.replace(settings, redis_url=user.url, database_pool_size=3)
    try:
        with serving(own) as api:
            found = counts(api)
            assert (found["database_up"], found["redis_up"]) == (1, 1)
            assert found['queue_tasks{queue="embeddings"}'] == 0
            assert found['database_connections_max{pool="requests"}'] == 13
            assert found['database_connections_in_use{pool="requests"}'] == 0
            assert found["http_requests_in_flight"] == 0
            for _ in range(3):
                api.post("/v1/messages", json=message())
            waits = 'queue_tasks{queue="embeddings"}'
            wait_until(lambda: counts(api)[waits] >= 1, "a task waits")
            with user.thrown_out():
                found = counts(api)
                assert (found["database_up"], found["redis_up"]) == (1, 0)
                assert waits not in found
            with no_database(settings.database_url):
                assert counts(api)["database_up"] == 0
            wait_until(lambda: counts(api)["database_up"] == 1, "the database is back")
    finally:
        user.close()


def test_connections_and_requests_at_work_are_shown(settings: Settings, owner: Connection) -> None:
    with serving(settings) as api, ThreadPoolExecutor(4) as callers:
        with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as other:
            other.execute(text("lock table messages in access exclusive mode"))
            asked = {"tenant_id": "acme", "query": "x", "mode": "lexical"}
            searches = [
                callers.submit(api.get, "/v1/memory/search", params=asked) for _ in range(4)
            ]
            wait_until(
                lambda: counts(api)['database_connections_in_use{pool="searches"}'] == 4,
                "four connections wait for the table",
            )
            assert counts(api)["http_requests_in_flight"] == 4
        assert [each.result().status_code for each in searches] == [200] * 4


def test_work_that_the_api_does_itself_is_counted_here(settings: Settings) -> None:
    with serving(msgspec.structs.replace(settings, async_embeddings=False, redis_url="")) as api:
        api.post("/v1/messages", json=message())
        found = counts(api)
        assert found["messages_embedded_total"] == 1
        assert found["embedding_generation_duration_seconds_count"] == 1
        assert found["message_embedding_lag_seconds_count"] == 1
        assert "redis_up" not in found
        wait_until(lambda: "memory_store_messages" in counts(api), "the store is measured")
        rescored = 'jobs_ended_total{kind="rescore",outcome="completed"}'
        assert rescored in counts(api)
