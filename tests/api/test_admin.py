"""Alive, well, ready: three questions, and what each depends on."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from db.migrating import migrate
from memory.settings import Settings
from tasks.brokers import SOCKET_SECONDS
from tests.api.answers import assert_problem, moment, stored
from tests.api.outages import no_database
from tests.api.redis_outages import Hole
from tests.conftest import message, serving
from tests.memory.embedding import fake_api
from tests.processes import wait_until

READY = {
    "database": "up",
    "redis": "up",
    "broker": "up",
    "embedding": "not_checked",
    "reasons": [],
}


def readiness(api: httpx.Client) -> tuple[int, dict[str, Any]]:
    answer = api.get("/v1/admin/readiness")
    return answer.status_code, answer.json()


def with_redis(settings: Settings, port: int, **changes: Any) -> Settings:
    url = f"redis://127.0.0.1:{port}/0"
    return msgspec.structs.replace(settings, redis_url=url, **changes)


def test_alive_is_to_answer(api: httpx.Client, settings: Settings) -> None:
    with no_database(settings.database_url):
        answer = api.get("/v1/admin/live")
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_health_when_all_is_well(api: httpx.Client) -> None:
    answer = api.get("/v1/admin/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {
        "status",
        "database",
        "timestamp",
        "latency_ms",
        "uptime_seconds",
        "environment",
        "version",
        "last_retention_run",
    }
    assert (body["status"], body["database"], body["environment"]) == ("ok", "up", "test")
    assert body["version"] == version("ai-memory-layer")
    assert body["last_retention_run"] is None
    assert abs(datetime.now(UTC) - moment(body["timestamp"])) < timedelta(seconds=10)
    assert 0 < body["latency_ms"] < 2000
    later = api.get("/v1/admin/health").json()
    assert later["uptime_seconds"] > body["uptime_seconds"] > 0


def test_health_without_a_database(api: httpx.Client, settings: Settings) -> None:
    with no_database(settings.database_url):
        answer = api.get("/v1/admin/health")
        assert answer.status_code == 503
        body = answer.json()
        assert (body["status"], body["database"], body["latency_ms"]) == ("down", "down", None)
        assert body["environment"] == "test"
    assert api.get("/v1/admin/health").status_code == 200


def test_ready_when_all_is_well(api: httpx.Client) -> None:
    assert readiness(api) == (200, {"status": "ready", **READY})


def test_not_ready_without_a_database(api: httpx.Client, settings: Settings) -> None:
    with no_database(settings.database_url):
        status, body = readiness(api)
        assert (status, body["status"], body["database"]) == (503, "unavailable", "down")
        assert body["reasons"] == ["The database is down."]
    assert readiness(api)[0] == 200


def test_a_database_that_is_down_at_the_start_is_waited_for(
    settings: Settings, owner: Connection
) -> None:
    with no_database(settings.database_url):
        service = serving(settings)
        api = service.__enter__()
        assert api.get("/v1/admin/live").status_code == 200
        assert readiness(api)[0] == 503
        assert_problem(api.post("/v1/messages", json=message()), 503, "unavailable")
    try:
        wait_until(lambda: readiness(api)[0] == 200, "it is ready")
        assert api.post("/v1/messages", json=message()).status_code == 202
    finally:
        service.__exit__(None, None, None)


def test_a_schema_that_is_missing_is_waited_for(settings: Settings, empty_database: str) -> None:
    fresh = msgspec.structs.replace(settings, database_url=empty_database)
    with serving(fresh) as api:
        status, body = readiness(api)
        assert (status, body["status"], body["database"]) == (503, "unavailable", "up")
        (reason,) = body["reasons"]
        assert "aiml migrate" in reason
        assert_problem(api.post("/v1/messages", json=message()), 503, "unavailable")
        search = api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "x"})
        assert "aiml migrate" in assert_problem(search, 503, "unavailable")["detail"]
        migrate(empty_database)
        wait_until(lambda: readiness(api)[0] == 200, "it is ready without a restart")
        assert api.post("/v1/messages", json=message()).status_code == 202


def test_without_redis_it_is_degraded(settings: Settings, closed_port: int) -> None:
    with serving(with_redis(settings, closed_port)) as api:
        status, body = readiness(api)
        assert (status, body["status"], body["redis"]) == (200, "degraded", "down")
        assert "Redis" in body["reasons"][0]


def test_a_silent_redis_is_found_out_soon(
    settings: Settings, black_hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REDIS_SECONDS", "QUEUE_SECONDS"):
        monkeypatch.setattr(f"api.probes.{name}", 0.1)
    with serving(with_redis(settings, black_hole)) as api:
        started = time.monotonic()
        status, body = readiness(api)
        # What looks after its socket alone is heard of then.
        assert time.monotonic() - started < SOCKET_SECONDS
        assert (status, body["redis"]) == (200, "down")


def test_redis_can_be_made_to_count(settings: Settings, closed_port: int) -> None:
    strict = with_redis(settings, closed_port, require_redis_in_production=True)
    with serving(strict) as api:
        status, body = readiness(api)
        assert (status, body["status"], body["redis"]) == (503, "unavailable", "down")


def test_embedded_inline_redis_is_not_asked(inline_settings: Settings) -> None:
    strict = msgspec.structs.replace(inline_settings, require_redis_in_production=True)
    unused = {"redis": "not_used", "broker": "not_used"}
    with serving(strict) as api:
        assert readiness(api) == (200, {"status": "ready", **READY, **unused})


@pytest.fixture
def fake() -> Iterator[fake_api.FakeApi]:
    with fake_api.serving() as provider:
        yield provider


def asking(settings: Settings, url: str, **changes: Any) -> Settings:
    """Settings with a remote provider, which readiness asks."""
    return msgspec.structs.replace(
        settings,
        embedding_provider="openai",
        embedding_dimensions=fake_api.DIMENSIONS,
        openai_base_url=url,
        openai_api_key="a-secret-key",
        health_embed_check_enabled=True,
        **changes,
    )


def test_the_provider_is_asked_if_the_settings_say_so(
    settings: Settings, fake: fake_api.FakeApi
) -> None:
    with serving(asking(settings, fake.url)) as api:
        assert readiness(api) == (200, {"status": "ready", **READY, "embedding": "up"})
        fake.answers = [fake_api.Answer(status=401)]
        status, body = readiness(api)
        assert (status, body["status"], body["embedding"]) == (200, "degraded", "down")
        assert "secret" not in str(body)
        assert readiness(api)[1]["status"] == "ready"


def test_a_provider_that_hangs_is_waited_for_no_longer_than_set(settings: Settings) -> None:
    with contextlib.closing(Hole()) as hole:
        url = f"http://127.0.0.1:{hole.port}"
        with serving(asking(settings, url, readiness_embed_timeout_seconds=0.1)) as api:
            started = time.monotonic()
            for _ in range(10):
                status, body = readiness(api)
                assert (status, body["status"], body["embedding"]) == (200, "degraded", "down")
            # A query's vector would be waited for three seconds each time.
            assert time.monotonic() - started < 15
            # The threads that wait for the provider are not those that others need.
            assert hole.calls() < 5
            assert api.post("/v1/messages", json=message()).status_code == 202
            assert api.get("/docs/assets/swagger-ui.css").status_code == 200


def test_a_provider_that_refuses_makes_a_search_a_503(
    settings: Settings, fake: fake_api.FakeApi
) -> None:
    with serving(asking(settings, fake.url)) as api:
        fake.answers = [fake_api.Answer(status=401)]
        search = api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "x"})
        assert_problem(search, 503, "unavailable")


@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [(401, 503, "unavailable"), (400, 422, "embedding-rejected")],
)
def test_what_cannot_be_embedded_inline_is_not_stored(
    inline_settings: Settings,
    fake: fake_api.FakeApi,
    owner: Connection,
    refusal: int,
    status: int,
    kind: str,
) -> None:
    with serving(asking(inline_settings, fake.url)) as api:
        fake.answers = [fake_api.Answer(status=refusal)]
        assert_problem(api.post("/v1/messages", json=message()), status, kind)
        assert stored(owner) == 0
        assert api.post("/v1/messages", json=message()).status_code == 200


def test_a_newer_schema_is_served(settings: Settings, owner: Connection) -> None:
    owner.execute(text("update alembic_version set version_num = '9999'"))
    with serving(settings) as api:
        assert readiness(api)[0] == 200
