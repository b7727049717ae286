"""A collector that is away or silent slows no request and no stop, and is told of once."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from memory.settings import Settings
from tests.conftest import message, serving
from tests.processes import wait_until
from tests.tracing.collector import collecting
from tests.workers import celery_process

# More than what is sent at once, and more than what is kept to be sent.
POSTS = 40
QUEUE, BATCH = "64", "16"


@contextmanager
def silent() -> Iterator[str]:
    """The address of one who takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def full() -> Iterator[str]:
    """The address of one who does not even take a connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        place = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(place)
        yield f"http://127.0.0.1:{place[1]}"
        for each in waiting:
            each.close()


@contextmanager
def away() -> Iterator[str]:
    """The address of nobody."""
    yield "http://127.0.0.1:1"


@contextmanager
def refusing() -> Iterator[str]:
    """The address of one who has too much to do."""
    with collecting(status=503) as collector:
        yield collector.url


@pytest.fixture(params=[away, refusing, silent, full], ids=lambda each: each.__name__)
def dead(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Settings with a collector that takes nothing."""
    with request.param() as url:
        yield msgspec.structs.replace(settings, otel_exporter_otlp_endpoint=url)


@pytest.fixture
def before() -> set[int | None]:
    """The threads of tests before, which wait for their collectors still, and tell of it late."""
    return {each.ident for each in threading.enumerate()}


def posts(settings: Settings) -> list[float]:
    """How many seconds each post took; the last is how long the service took to stop."""
    took: list[float] = []
    with serving(settings) as api:
        for _ in range(POSTS):
            started = time.perf_counter()
            assert api.post("/v1/messages", json=message()).status_code == 202
            took.append(time.perf_counter() - started)
        time.sleep(0.5)
        started = time.perf_counter()
    return [*took, time.perf_counter() - started]


def test_no_request_waits_for_it_and_the_stop_is_bounded(
    dead: Settings,
    before: set[int | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH)
    *took, stopped = posts(dead)
    # Who waited for the collector would wait ten seconds, and at the end thirty. How many
    # microseconds less it is, `make bench-watching` says.
    assert max(took) < 5
    assert stopped < 10
    said = [record.getMessage() for record in caplog.records if record.thread not in before]
    assert len([line for line in said if "spans_not_sent" in line]) <= 1
    others = {record.name for record in caplog.records if "opentelemetry" in record.name}
    assert not others, said


def test_it_is_told_of_and_a_password_is_not(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    url = "http://somebody:hunter2@127.0.0.1:1"
    with serving(msgspec.structs.replace(settings, otel_exporter_otlp_endpoint=url)) as api:
        assert api.post("/v1/messages", json=message()).status_code == 202
        wait_until(lambda: "spans_not_sent" in caplog.text, "it is told of")
    assert "hunter2" not in caplog.text


def test_a_worker_stops_in_time_too(settings: Settings, tmp_path: Path) -> None:
    with silent() as url:
        dead = msgspec.structs.replace(settings, otel_exporter_otlp_endpoint=url)
        worker = celery_process(dead, tmp_path, "worker", "worker", "-Q", "embeddings,maintenance")
        try:
            with serving(dead) as api:
                assert api.post("/v1/messages", json=message()).status_code == 202
                wait_until(lambda: '"event": "embedded"' in worker.logs(), "it is embedded")
            started = time.perf_counter()
            worker.kill("SIGTERM")
            assert time.perf_counter() - started < 15
        finally:
            worker.teardown()
