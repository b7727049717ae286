"""No span holds what people said, nor a key, in whatever way it came to the service."""

from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.engine import worker_engine
from memory import tracing
from memory.settings import Settings
from tests.conftest import message, serving
from tests.memory.embedding import fake_api
from tests.processes import wait_until
from tests.tracing.collector import Collector
from tests.workers import celery_process

MARKER = "xylophagous"
JSON = {"Content-Type": "application/json"}
KEY = f"{MARKER}-key-of-an-operator"
WRONG_NUMBER = text("/* wrong_number */ select cast(:number as int)")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a key that is a secret too."""
    return msgspec.structs.replace(settings, api_keys=KEY)


def attempts(api: httpx.Client) -> list[httpx.Response]:
    """The marker in each place that a request has."""
    said = message(content=f"I am {MARKER}.", metadata={MARKER: MARKER})
    many = {"messages": [said, {**said, "role": MARKER}]}
    search: dict[str, str | int] = {"tenant_id": "acme", "query": MARKER, "context": 1}
    return [
        api.post("/v1/messages", json=said, headers={"Idempotency-Key": MARKER}),
        api.post("/v1/messages", json=said, headers={"User-Agent": MARKER, "Cookie": MARKER}),
        api.post("/v1/messages/batch", json={**many, "partial": True}),
        api.post("/v1/messages", json={**said, "tenant_id": f"no {MARKER}"}),
        api.post("/v1/messages", content=f'{{"content": "{MARKER}"', headers=JSON),
        api.get("/v1/memory/search", params=search),
        api.post("/v1/memory/search", json=search),
        api.get(f"/v1/messages/{MARKER}", params={"tenant_id": "acme"}),
        api.get(f"/{MARKER}/{quote(MARKER)}?{MARKER}={MARKER}"),
        api.get("/v1/messages", headers={"Authorization": f"Bearer {MARKER}{MARKER}"}),
        api.request("PROPFIND", f"/{MARKER}"),
    ]


def test_what_a_marker_word_goes_through_sends_it_nowhere(
    settings: Settings, worker: CeleryTestWorker, collector: Collector
) -> None:
    with serving(settings) as api:
        api.headers["Authorization"] = f"Bearer {KEY}"
        statuses = [answer.status_code for answer in attempts(api)]
        hits = api.get("/v1/memory/search", params={"tenant_id": "acme", "query": MARKER}).json()
        assert MARKER in str(hits["items"])
        collector.wait_for("run embed_messages")
    assert set(statuses) >= {200, 202, 400, 401, 404}
    requests = [span for span in collector.spans if "http.request.method" in span.attributes]
    wait_until(lambda: len(requests) >= len(statuses), "all are there")
    assert {span.name for span in requests} >= {
        "POST /v1/messages",
        "POST /v1/messages/batch",
        "GET /v1/memory/search",
        "POST /v1/memory/search",
        "GET /v1/messages/{message_id}",
        "GET",
        "HTTP",
    }
    assert not [body for body in collector.bodies if MARKER in body.decode("latin-1").lower()]


def test_a_failure_is_told_by_its_kind_alone(settings: Settings, collector: Collector) -> None:
    tracing.start(settings.otel_exporter_otlp_endpoint, "test")
    engine = worker_engine(settings)
    with pytest.raises(DBAPIError, match=MARKER), tracing.begin("outer"), engine.begin() as given:
        given.execute(WRONG_NUMBER, {"number": MARKER})
    tracing.stop()
    engine.dispose()
    statement = collector.wait_for("wrong_number")
    assert statement.failed
    assert statement.attributes["error.type"] == "22P02"
    assert collector.wait_for("outer").attributes["error.type"] == "DataError"
    assert not [body for body in collector.bodies if MARKER.encode() in body]


def test_a_task_that_fails_quotes_nobody(
    settings: Settings, collector: Collector, tmp_path: Path
) -> None:
    # It quotes what it refuses, as some do.
    refusal = fake_api.Answer(422, body={"error": {"message": f"I do not take {MARKER}."}})
    with fake_api.serving() as provider:
        remote = msgspec.structs.replace(
            settings,
            embedding_provider="openai",
            openai_api_key="a-key",
            openai_base_url=provider.url,
            embedding_dimensions=fake_api.DIMENSIONS,
        )
        worker = celery_process(remote, tmp_path, "worker", "worker", "-Q", "embeddings")
        try:
            wait_until(lambda: "worker_ready" in worker.logs(), "the worker is ready")
            with serving(remote) as api:
                api.headers["Authorization"] = f"Bearer {KEY}"
                provider.answers[:] = [refusal] * 20
                assert api.post("/v1/messages", json=message(content=MARKER)).status_code == 202
                run = collector.wait_for("run embed_messages")
        finally:
            worker.teardown()
        assert provider.requests[-1].texts == [MARKER]
    assert run.failed
    assert run.attributes["error.type"] == "NotEmbeddedError"
    assert collector.wait_for("embed messages").failed
    assert not [body for body in collector.bodies if MARKER.encode() in body]
