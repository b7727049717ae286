"""What is done for several requests at once is one span, linked with all of them."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from memory import tracing
from memory.embedding.batching import embed_queries
from memory.errors import SettingsError
from memory.settings import Settings
from tests.conftest import message
from tests.processes import wait_until
from tests.tracing.collector import Collector, Span

REQUESTS = 12


@contextmanager
def nobody_stores(database: str) -> Iterator[None]:
    """Whoever stores messages waits until the block has ended."""
    with psycopg.connect(database) as connection:
        connection.execute("lock table messages in exclusive mode")
        yield


def for_whom(spans: list[Span]) -> list[str]:
    """The requests that `spans` were for: what they are a part of, and what they are linked with"""
    return sorted(id_ for span in spans for id_ in (span.parent_id, *span.links))


def test_an_insert_of_many_is_one_span_with_links(
    api: httpx.Client, database: str, collector: Collector
) -> None:
    def post(number: int) -> None:
        body = message(conversation_id=f"c-{number}")
        assert api.post("/v1/messages", json=body).status_code == 202

    with ThreadPoolExecutor(REQUESTS) as callers:
        with nobody_stores(database):
            posting = [callers.submit(post, number) for number in range(REQUESTS)]
            time.sleep(0.5)  # all have come, and the two that store have one or a few each
        for each in posting:
            each.result()
    wait_until(lambda: len(collector.named("POST /v1/messages")) == REQUESTS, "all are answered")
    requests = {span.id: span for span in collector.named("POST /v1/messages")}

    groups = collector.named("store messages")
    assert for_whom(groups) == sorted(requests)
    largest = max(groups, key=lambda span: len(span.links))
    assert len(largest.links) >= 3
    assert largest.attributes["memory.requests"] == len(largest.links) + 1
    assert largest.trace_id == requests[largest.parent_id].trace_id
    inserts = [span for span in collector.trace(largest.trace_id) if span.name == "insert_messages"]
    assert [span.parent_id for span in inserts] == [largest.id]
    # And the other way round, for not all viewers show who links to a span.
    for id_ in largest.links:
        assert requests[id_].links == (largest.id,)
        assert requests[id_].trace_id != largest.trace_id

    def published() -> bool:
        return for_whom(collector.named("publish embed_messages")) == sorted(requests)

    wait_until(published, "what was sent is linked with all that it is for")


def slowly(*arguments: Any) -> Any:
    """Embed queries, but not before others have come."""
    time.sleep(0.2)
    return embed_queries(*arguments)


def test_queries_that_are_embedded_together_are_one_span_with_links(
    api: httpx.Client, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.query_vectors.embed_queries", slowly)

    def search(number: int) -> None:
        found = api.get("/v1/memory/search", params={"tenant_id": "acme", "query": f"q{number}"})
        assert found.status_code == 200

    with ThreadPoolExecutor(REQUESTS) as callers:
        list(callers.map(search, range(REQUESTS)))
    wait_until(
        lambda: len(collector.named("GET /v1/memory/search")) == REQUESTS, "all are answered"
    )
    searches = [span.id for span in collector.named("search: embed")]
    groups = collector.named("embed queries")
    assert for_whom(groups) == sorted(searches)
    assert max(span.attributes["memory.queries"] for span in groups) > 3


@pytest.fixture
def tracer(settings: Settings) -> Iterator[None]:
    """Tracing in this process, without a service."""
    tracing.start(settings.otel_exporter_otlp_endpoint, "test")
    yield
    tracing.stop()


def origin(traceparent: str = "") -> tracing.Origin:
    carried = {"traceparent": traceparent} if traceparent else {}
    with tracing.begin("request", carried=carried):
        return tracing.here()


def test_a_variable_that_cannot_be_ends_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with pytest.raises(SettingsError, match=r"OTEL_.*max_queue_size"):
        tracing.start(settings.otel_exporter_otlp_endpoint, "test")
    assert not tracing.is_on()


def test_links_are_bounded(tracer: None, collector: Collector) -> None:
    origins = [origin() for _ in range(500)]
    with tracing.group("together", origins):
        pass
    assert len(collector.wait_for("together").links) == 100


def test_of_a_group_the_first_whose_trace_is_kept_has_it(
    tracer: None, collector: Collector
) -> None:
    passed_over = origin(f"00-{'1' * 32}-{'2' * 16}-00")
    kept = origin()
    with tracing.group("together", [None, passed_over, kept]):
        pass
    assert collector.wait_for("together").trace_id == collector.wait_for("request").trace_id


async def test_nothing_of_a_group_is_left_behind_in_who_works_on_it(
    tracer: None, collector: Collector
) -> None:
    def where() -> dict[str, str]:
        return tracing.headers()

    with tracing.group("first", [origin()]):
        inside = where()
        assert await asyncio.to_thread(where) == inside
    assert inside
    assert where() == {}


def test_of_a_trace_that_is_not_kept_the_next_process_hears_too(tracer: None) -> None:
    told = f"00-{'1' * 32}-{'2' * 16}-00"
    with tracing.group("publish", [origin(told)]):
        carried = tracing.headers()["traceparent"]
    assert carried.startswith(f"00-{'1' * 32}-")
    assert carried.endswith("-00")
