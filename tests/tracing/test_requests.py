"""Which requests have a span, what it is called, and whose trace it goes on with."""

import httpx
import pytest
from sqlalchemy import Connection

from memory.settings import Settings
from tests.conftest import message, serving
from tests.db.rows import add_job
from tests.processes import wait_until
from tests.tracing.collector import Collector, Span

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{CALLER}-01"
LATER = f"cc-{TRACE}-{CALLER}-01-what-a-later-version-adds"
NOT_KEPT = f"00-{TRACE}-{CALLER}-00"


def asked(api: httpx.Client, collector: Collector, **headers: str) -> Span:
    """The span of a request with `headers`."""
    assert api.get("/v1/jobs", headers=headers).status_code == 200
    return collector.wait_for("GET /v1/jobs")


@pytest.mark.parametrize("traceparent", [GOOD, LATER])
def test_the_callers_trace_is_gone_on_with(
    api: httpx.Client, collector: Collector, traceparent: str
) -> None:
    span = asked(api, collector, traceparent=traceparent, tracestate="vendor=1")
    assert (span.trace_id, span.parent_id) == (TRACE, CALLER)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        GOOD.upper(),
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{CALLER}-01",
        f"00-{TRACE}-{CALLER}",
        f"{GOOD}-more",
        f"{GOOD}, {GOOD}",
        "0" * 5_000,
    ],
)
def test_a_trace_that_is_none_is_passed_over(
    api: httpx.Client, collector: Collector, traceparent: str
) -> None:
    span = asked(api, collector, traceparent=traceparent, tracestate="vendor=1")
    assert span.trace_id != TRACE
    assert not span.parent_id


def test_what_the_caller_does_not_keep_is_not_sent(api: httpx.Client, collector: Collector) -> None:
    assert api.post("/v1/messages", json=message(), headers={"traceparent": NOT_KEPT}).is_success
    asked(api, collector)
    assert {span.name for span in collector.spans if span.trace_id == TRACE} == set()
    assert not collector.named("store messages")


def test_probes_have_no_span(api: httpx.Client, collector: Collector) -> None:
    for probe in ("/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness", "/metrics"):
        assert api.get(probe).status_code == 200
    spans = [asked(api, collector), *collector.spans]
    assert {span.trace_id for span in spans} == {spans[0].trace_id}


def test_without_a_route_a_span_is_called_by_its_method(
    api: httpx.Client, collector: Collector
) -> None:
    assert api.get("/no/such/path").status_code == 404
    assert api.request("PROPFIND", "/v1/messages").status_code in {404, 405}
    unknown, strange = collector.wait_for("GET"), collector.wait_for("HTTP")
    assert "http.route" not in unknown.attributes
    assert not unknown.failed
    assert strange.attributes["http.request.method"] == "_OTHER"


def test_what_the_service_fails_at_is_marked(
    settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("api.messages.enter_to_store", fail)
    with serving(settings) as api:
        assert api.post("/v1/messages", json=message()).status_code == 500
    span = collector.wait_for("POST /v1/messages")
    assert span.failed
    assert span.attributes["error.type"] == "500"


def test_a_stream_has_ended_for_its_span_when_it_begins(
    api: httpx.Client, owner: Connection, collector: Collector
) -> None:
    job_id = add_job(owner, state="running")
    # Who lets go of the lines ends the stream, too.
    with api.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        lines = answer.iter_lines()
        next(lines)
        # It is here while the stream is open, and is not sent again at its end.
        span = collector.wait_for("GET /v1/jobs/{job_id}/events")
    assert span.attributes["http.response.status_code"] == 200
    wait_until(lambda: asked(api, collector), "the next request has been traced")
    assert len(collector.named("GET /v1/jobs/{job_id}/events")) == 1
