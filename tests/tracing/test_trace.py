"""One trace leads from a request through SQL and the broker to the worker, and holds no content."""

import httpx
from pytest_celery import CeleryTestWorker

from tests.conftest import message
from tests.processes import wait_until
from tests.tracing.collector import Collector

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5


def embedded(api: httpx.Client, id_: str) -> bool:
    found = api.get(f"/v1/messages/{id_}", params={"tenant_id": "acme"}).json()
    return bool(found["embedding_status"] == "completed")


def test_a_post_is_one_trace_until_its_vector_is_there(
    api: httpx.Client, worker: CeleryTestWorker, collector: Collector
) -> None:
    posted = api.post("/v1/messages", json=message(), headers={"X-Request-ID": "r-1"}).json()
    wait_until(lambda: embedded(api, posted["id"]), "its vector is there")
    ran = collector.wait_for("run embed_messages")
    request = collector.wait_for("POST /v1/messages")
    assert ran.trace_id == request.trace_id
    tree = collector.tree(request.trace_id)
    print("\n".join(tree))
    assert tree[0] == "memory-api: POST /v1/messages"
