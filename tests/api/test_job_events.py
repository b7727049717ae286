"""Watching a job: server-sent events that come at once, end when it ends and hold nobody up."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from api.watching import HEARTBEAT_SECONDS
from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.outages import no_database
from tests.conftest import serving
from tests.db.rows import add_job, set_job
from tests.processes import wait_until

ENDPOINT = "/v1/jobs/{job_id}/events"
HEARTBEAT = ("", {})


@contextlib.contextmanager
def watching(
    api: httpx.Client, job_id: str, **headers: str
) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """What is sent to one who watches a job, as pairs of event and job."""
    with api.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        yield events(answer.iter_lines())


def events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        else:
            yield fields.get("event", ""), json.loads(fields.get("data", "{}"))
            fields = {}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing need be waited for."""
    monkeypatch.setattr("api.watching.POLL_SECONDS", 0.05)
    monkeypatch.setattr("api.watching.HEARTBEAT_SECONDS", 0.2)


def test_a_job_is_watched_from_its_state_of_now_to_its_end(
    api: httpx.Client, owner: Connection
) -> None:
    job_id = add_job(owner, state="running", done=5, total=10)
    with watching(api, job_id) as told:
        event, job = next(told)
        assert event == "progress"
        assert job == api.get(f"/v1/jobs/{job_id}").json()
        set_job(owner, job_id, done=7)
        event, job = next(told)
        assert (event, job["done"]) == ("progress", 7)
        set_job(owner, job_id, state="completed", result='{"retried": 7}')
        event, job = next(told)
        assert (event, job["state"]) == ("progress", "completed")
        assert next(told) == ("end", job)
        assert list(told) == []


def test_who_watches_an_ended_job_is_told_so(api: httpx.Client, owner: Connection) -> None:
    job_id = add_job(owner, state="failed")
    with watching(api, job_id, **{"Last-Event-ID": "7"}) as told:
        assert [event for event, _ in told] == ["progress", "end"]


def test_a_quiet_stream_outlives_the_time_of_a_request(
    settings: Settings, owner: Connection, quick: None
) -> None:
    job_id = add_job(owner, state="running")
    hasty = msgspec.structs.replace(settings, request_timeout_seconds=0.5)
    with serving(hasty) as api, watching(api, job_id) as told:
        assert next(told)[0] == "progress"
        assert [next(told) for _ in range(4)] == [HEARTBEAT] * 4
        set_job(owner, job_id, state="cancelled")
        assert [event for event, _ in told if event] == ["progress", "end"]


def test_more_watch_than_the_database_takes_connections(
    settings: Settings, owner: Connection, quick: None
) -> None:
    small = msgspec.structs.replace(settings, database_pool_size=1, database_max_overflow=0)
    jobs = [add_job(owner, state="running") for _ in range(3)]
    told: list[list[str]] = []

    def watch(api: httpx.Client, job_id: str) -> None:
        with watching(api, job_id) as events:
            told.append(seen := [])
            seen.extend(event for event, _ in events if event)

    with serving(small) as api:
        crowd = [threading.Thread(target=watch, args=(api, jobs[n % 3])) for n in range(60)]
        for each in crowd:
            each.start()
        wait_until(lambda: len(told) == 60 and all(told), "all have heard how it stands")
        assert len(api.get("/v1/jobs").json()["items"]) == 3
        for job_id in jobs:
            set_job(owner, job_id, state="completed")
        for each in crowd:
            each.join(20)
    assert told == [["progress", "progress", "end"]] * 60


def test_a_service_that_stops_ends_its_streams_at_once(
    settings: Settings, owner: Connection
) -> None:
    job_id = add_job(owner, state="running")
    with contextlib.ExitStack() as outlives, httpx.Client() as other:
        with serving(settings) as api:
            other.base_url = api.base_url
            told = outlives.enter_context(watching(other, job_id))
            assert next(told)[0] == "progress"
            began = time.monotonic()
        # It would end with its next sign of life, else.
        assert time.monotonic() - began < HEARTBEAT_SECONDS
        assert list(told) == []


def test_who_goes_away_is_forgotten_and_logged_once(
    api: httpx.Client, owner: Connection, quick: None
) -> None:
    job_id = add_job(owner, state="running")

    def lines() -> list[Any]:
        return [line for line in logged if line.get("endpoint") == ENDPOINT]

    with capture_logs() as logged:
        with httpx.Client(base_url=api.base_url) as other, watching(other, job_id) as told:
            assert next(told)[0] == "progress"
            assert next(told) == HEARTBEAT
            assert lines() == []
        wait_until(lines, "the request has ended")
    (line,) = lines()
    assert (line["status"], line["tenant_id"]) == (200, "acme")


def test_a_stream_outlives_a_database_that_is_away(
    settings: Settings, api: httpx.Client, owner: Connection, quick: None
) -> None:
    job_id = add_job(owner, state="running")
    owner.invalidate()
    with capture_logs() as logged, watching(api, job_id) as told:
        assert next(told)[0] == "progress"
        with no_database(settings.database_url):
            told_so = ("watched_jobs_not_read", "warning")
            wait_until(
                lambda: told_so in [(line["event"], line["log_level"]) for line in logged],
                "it was missed",
            )
        with owner.engine.connect() as again:
            set_job(again, job_id, state="completed")
        assert [event for event, _ in told if event] == ["progress", "end"]


def test_one_caller_does_not_take_all_the_room(
    api: httpx.Client, owner: Connection, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.setattr("api.watching.MOST_OF_ONE", 2)
    job_id = add_job(owner, state="running")
    with watching(api, job_id) as first, watching(api, job_id) as second:
        assert next(first) == next(second)
        assert_problem(api.get(f"/v1/jobs/{job_id}/events"), 503, "busy")
        set_job(owner, job_id, state="completed", result="{}")
        for told in (first, second):
            assert [event for event, _ in told if event][-1] == "end"
    with watching(api, job_id) as again:
        assert [event for event, _ in again] == ["progress", "end"]
