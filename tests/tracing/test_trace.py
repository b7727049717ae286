"""One trace leads from a request through SQL and the broker to the worker that works for it."""

import httpx
import msgspec
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.settings import Settings
from tests.conftest import message, serving
from tests.processes import ProcessContainer, wait_until
from tests.tracing.collector import Collector, Span

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
# Lost by the broker, and no longer on its way.
OVERDUE = text("update messages set ingested_at = now() - interval '1 minute'")
# What each trace of a message has, and where; what stands beside that may change.
PATH = """
memory-api: POST /v1/messages
  memory-api: store messages
    memory-api: insert_messages
  memory-api: publish embed_messages
    memory-worker: run embed_messages
      memory-worker: claim_pending
      memory-worker: embed messages
      memory-worker: write_vectors
"""

SEARCH = """
memory-api: GET /v1/memory/search
  memory-api: search: embed
    memory-api: embed queries
  memory-api: search: find
    memory-api: search_candidates
  memory-api: search: dress
"""


def embedded(api: httpx.Client, id_: str) -> bool:
    found = api.get(f"/v1/messages/{id_}", params={"tenant_id": "acme"}).json()
    return bool(found["embedding_status"] == "completed")


def post(api: httpx.Client, **headers: str) -> str:
    answer = api.post("/v1/messages", json=message(), headers=headers)
    assert answer.is_success
    return str(answer.json()["id"])


def one(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


def test_a_post_is_one_trace_until_its_vector_is_there(
    api: httpx.Client, worker: CeleryTestWorker, collector: Collector
) -> None:
    id_ = post(api, **{"X-Request-ID": "r-1"})
    wait_until(lambda: embedded(api, id_), "its vector is there")
    run = collector.wait_for("run embed_messages")
    path = PATH.strip().splitlines()

    def seen() -> list[str]:
        return [line for line in collector.tree(run.trace_id) if line in path]

    wait_until(lambda: seen() == path, f"all of it among {collector.tree(run.trace_id)}")
    spans = collector.trace(run.trace_id)
    # Nothing of it is a part of nothing.
    assert [span for span in spans if not span.parent_id] == [one(spans, "POST /v1/messages")]

    request = one(spans, "POST /v1/messages")
    assert request.kind == SERVER
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "http.response.status_code": 202,
        "url.scheme": "http",
        "memory.request_id": "r-1",
        "memory.tenant_id": "acme",
    }
    insert = one(spans, "insert_messages")
    assert insert.kind == CLIENT
    assert insert.attributes["db.system.name"] == "postgresql"
    assert insert.attributes["db.query.summary"] == "insert_messages"
    assert insert.attributes["db.response.returned_rows"] == 1
    assert one(spans, "publish embed_messages").kind == PRODUCER
    assert run.kind == CONSUMER
    assert run.attributes["celery.task_name"] == "embed_messages"
    assert one(spans, "embed messages").attributes["memory.messages"] == 1
    assert not [span for span in spans if span.failed or span.links]
    assert all(span.start <= span.end for span in spans)
    assert collector.paths == {"/v1/traces"}


def test_a_job_is_a_part_of_the_trace_of_who_starts_it(
    api: httpx.Client, worker: CeleryTestWorker, collector: Collector
) -> None:
    post(api)
    answer = api.post("/v1/admin/importance/run", json={"tenant_id": "acme"})
    assert answer.status_code == 202, answer.text
    run = collector.wait_for("run rescore_importance")
    request = collector.wait_for("POST /v1/admin/importance/run")
    assert run.trace_id == request.trace_id


def test_what_is_swept_is_a_trace_of_its_own_and_linked_with_the_sweep(
    settings: Settings,
    owner: Connection,
    worker: CeleryTestWorker,
    collector: Collector,
    request: pytest.FixtureRequest,
) -> None:
    away = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1/0", cache_url="")
    with serving(away) as api:
        post(api)
        post(api)
    owner.execute(OVERDUE)
    beat: ProcessContainer = request.getfixturevalue("beat")
    run = collector.wait_for("run embed_messages")
    sent = collector.wait_for("publish embed_messages", lambda span: span.id == run.parent_id)
    assert sent.service == "memory-worker"
    assert not sent.parent_id
    sweep = collector.wait_for("run sweep_pending", lambda span: span.id in sent.links)
    assert sweep.trace_id != sent.trace_id
    by_beat = collector.wait_for("publish sweep_pending", lambda span: span.id == sweep.parent_id)
    assert by_beat.service == "memory-beat", beat.logs()


def test_without_workers_the_request_embeds(settings: Settings, collector: Collector) -> None:
    with serving(msgspec.structs.replace(settings, async_embeddings=False)) as api:
        post(api)
    request = collector.wait_for("POST /v1/messages")
    tree = collector.tree(request.trace_id)
    assert "  memory-api: embed messages" in tree
    assert "    memory-api: insert_vectors" in tree


def test_a_search_shows_what_it_waits_for(api: httpx.Client, collector: Collector) -> None:
    post(api)
    found = api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "peanuts"})
    assert found.status_code == 200
    request = collector.wait_for("GET /v1/memory/search")
    tree = collector.tree(request.trace_id)
    path = SEARCH.strip().splitlines()
    assert [line for line in tree if line in path] == path
