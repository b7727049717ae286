"""Whole processes: what is loaded when traces are off, and log lines that name their trace."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pytest_celery import CeleryTestWorker

from memory import tracing
from memory.settings import Settings
from tests.conftest import message
from tests.processes import ProcessContainer, wait_until
from tests.test_journey import free_port
from tests.tracing.collector import Collector
from tests.workers import environment

ROOT = Path(__file__).parent.parent.parent
PROBE = """
import asyncio, sys, threading
from api.app import create_app
import tasks.celery

async def live() -> None:
    gate = create_app()
    told = asyncio.Queue()
    await told.put({"type": "lifespan.startup"})
    said = []
    async def send(message): said.append(message["type"])
    serving = asyncio.create_task(gate({"type": "lifespan", "asgi": {}}, told.get, send))
    while not said: await asyncio.sleep(0.01)
    print(said[0])
    # Of the SDK's metrics redis-py loads a part, if it is there.
    ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "memory.telemetry")
    print("sdk", any(name.startswith(ours) for name in sys.modules))
    print("threads", any("Otel" in thread.name for thread in threading.enumerate()))
    await told.put({"type": "lifespan.shutdown"})
    await serving

asyncio.run(live())
"""


def probed(settings: Settings) -> list[str]:
    """What a process of the API, and of the worker's application, says of itself."""
    command = [sys.executable, "-c", PROBE]
    given = {**environment(settings), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(
        command, env=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-3:]


def test_off_means_that_nothing_of_it_is_loaded(settings: Settings) -> None:
    off = msgspec.structs.replace(settings, otel_exporter_otlp_endpoint="")
    assert probed(off) == ["lifespan.startup.complete", "sdk False", "threads False"]
    assert probed(settings) == ["lifespan.startup.complete", "sdk True", "threads True"]


def test_off_means_that_nothing_is_done() -> None:
    assert not tracing.is_on()
    with tracing.begin("a"), tracing.child("b"), tracing.group("c", [tracing.here()]) as span:
        span.note({"x": 1}, name="d")
        span.fail("because")
        span.end()
        assert span is tracing.NOTHING
    assert tracing.headers() == {}
    assert tracing.here() is None
    assert tracing.name_span(None, "info", {"event": "e"}) == {"event": "e"}


@pytest.fixture
def process(settings: Settings, tmp_path: Path) -> Iterator[ProcessContainer]:
    """The API as a process, which writes its log as an operator sees it."""
    given = {**environment(settings), "MEMORY_API_PORT": str(free_port())}
    command = [sys.executable, "-m", "cli.main", "api"]
    container = ProcessContainer("api", command, given, tmp_path / "api.log")
    container.url = f"http://127.0.0.1:{given['MEMORY_API_PORT']}"  # type: ignore[attr-defined]
    try:
        wait_until(lambda: "Uvicorn running" in container.logs(), "the API has started")
        yield container
    finally:
        container.teardown()


def lines(container: Any, event: str) -> list[dict[str, Any]]:
    """The log lines about `event`."""
    found = [json.loads(line) for line in container.logs().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def test_log_lines_name_the_trace(
    process: Any, worker: CeleryTestWorker, collector: Collector
) -> None:
    answer = httpx.post(
        f"{process.url}/v1/messages", json=message(), headers={"X-Request-ID": "find-me"}
    )
    assert answer.status_code == 202
    run = collector.wait_for("run embed_messages")
    request = collector.wait_for("POST /v1/messages")
    (said,) = lines(process, "request")
    assert said["request_id"] == "find-me"
    assert (said["trace_id"], said["span_id"]) == (request.trace_id, request.id)
    (embedded,) = lines(worker, "embedded")
    assert embedded["request_ids"] == ["find-me"]
    assert embedded["trace_id"] == request.trace_id
    assert embedded["span_id"] == run.id
