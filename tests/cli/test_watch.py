"""`aiml watch` beside a real service, and beside none."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result
from pytest_celery import CeleryTestWorker

from cli.main import main
from cli.watch import Watch
from cli.watching.findings import Finding
from cli.watching.pages import Address
from cli.watching.reading import Figures
from memory.settings import Settings
from tests.conftest import message
from tests.metrics_pages import own_url
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until
from tests.workers import environment

QUICK = 0.2
Readings = Iterator[tuple[Figures, list[Finding]]]
ONCE = ("--once", "--interval", "0.5")


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, ["watch", *arguments], env=variables, catch_exceptions=False)


def url_of(api: httpx.Client) -> str:
    return str(api.base_url)


@pytest.fixture
def whole(api: httpx.Client, worker: CeleryTestWorker, beat: ProcessContainer) -> Readings:
    """Readings of a whole service, of which the first is over."""
    addresses = [
        Address("api", str(api.base_url.join("/metrics"))),
        Address("worker", own_url(worker)),
        Address("beat", own_url(beat)),
    ]
    readings = Watch(addresses, "", QUICK).readings()
    next(readings)
    return readings


def alerts(found: list[Finding]) -> list[str]:
    return [each.alert for each in found]


def test_what_a_whole_service_does_is_counted(api: httpx.Client, whole: Readings) -> None:
    posted = [message(content=f"The {number}th peanut") for number in range(5)]
    assert all(api.post("/v1/messages", json=each).status_code == 202 for each in posted)
    asked = {"tenant_id": "acme", "query": "peanut"}
    assert api.get("/v1/memory/search", params=asked).status_code == 200
    assert api.get("/v1/memory/search").status_code == 400
    deadline = time.monotonic() + 20
    while not (now := next(whole)[0]).pipeline.tasks:
        assert time.monotonic() < deadline, "no task is counted"
    assert [each.answers for each in now.processes] == [True, True, True]
    counts = {each.name: each.count for each in now.requests.endpoints}
    assert counts["POST /v1/messages"] == 5
    assert counts["GET /v1/memory/search"] == 2
    assert not any("/metrics" in name for name in counts)
    assert now.requests.all.error_share == 0
    assert now.requests.all.p50
    assert now.pipeline.stored_per_second == pytest.approx(5 / now.seconds)
    assert now.requests.searches_per_second == pytest.approx(1 / now.seconds)
    assert now.requests.legs_p95["find"]
    assert now.requests.cache_hits["query_vector"] == 0
    assert now.pipeline.tasks["embed_messages"]["success"] >= 1
    assert now.pipeline.lag_p95
    assert now.pipeline.queues.keys() == {"embeddings", "maintenance"}
    assert (now.parts.database_up, now.parts.redis_up) == (True, True)
    assert all(0 < free < 1 for free in now.parts.disks.values())
    assert all(each.memory_bytes and each.memory_bytes > 1e7 for each in now.processes)


def test_a_worker_that_is_killed_is_missed(
    whole: Readings, worker: CeleryTestWorker, api: httpx.Client
) -> None:
    worker.container.kill()
    now, found = next(whole)
    assert "WorkerDown" in alerts(found)
    assert now.pipeline.embedded_per_second is None
    (away,) = [each for each in now.processes if not each.answers]
    assert (away.part, away.why_not) == ("worker", "nobody listens there")
    assert "APIDown" not in alerts(found)


def test_a_beat_that_is_killed_is_missed(whole: Readings, beat: ProcessContainer) -> None:
    assert "BeatNotBeating" not in alerts(next(whole)[1])
    beat.kill()
    assert "BeatNotBeating" in alerts(next(whole)[1])


def test_an_api_that_was_started_anew_has_counted_from_0(settings: Settings) -> None:
    port = free_port()
    watching = Watch([Address("api", f"http://127.0.0.1:{port}/metrics")], "", QUICK).readings()
    base = f"http://127.0.0.1:{port}"
    fixed = environment(msgspec.structs.replace(settings, api_port=port))
    for posted in (3, 7):
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "api"], env=os.environ | fixed
        )
        try:
            wait_until(lambda: answers(base), "the API serves")
            next(watching)
            for _ in range(posted):
                httpx.post(f"{base}/v1/messages", json=message(), timeout=60).raise_for_status()
            now, _ = next(watching)
        finally:
            process.terminate()
            process.wait(60)
        _, found = next(watching)
        assert "APIDown" in alerts(found)
    # 3 before it was started anew, and not 7 - 3 after.
    assert now.pipeline.stored_per_second == pytest.approx(10 / now.seconds)


def answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/v1/admin/live").status_code == 200
    except httpx.TransportError:
        return False


def test_all_is_well_is_exit_code_0(api: httpx.Client, measured: None) -> None:
    result = run("--api", url_of(api), *ONCE)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1] == "All is well."
    assert "database up" in result.stdout


def test_something_wrong_is_exit_code_1_and_in_words(api: httpx.Client) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    result = run("--api", url_of(api), "--worker", dead, *ONCE)
    assert result.exit_code == 1
    said = f"CRITICAL: No worker answers at {dead[7:]}: nobody listens there"
    assert f"{said} (docs/runbook.md#workerdown)" in result.stdout.splitlines()
    assert len(result.stdout.splitlines()) < 40


def test_as_json_it_is_the_same(api: httpx.Client) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    result = run("--api", url_of(api), "--beat", dead, "--json", "--interval", "0.5")
    read = json.loads(result.stdout)
    assert (result.exit_code, read["findings"][0]["alert"]) == (1, "BeatNotBeating")
    assert read["parts"]["database_up"] is True
    assert read["processes"][1]["why_not"] == "nobody listens there"
    # Half a second, less what the first reading was late.
    assert 0 < read["seconds"] < 30


def test_where_no_terminal_is_one_reading_is_printed() -> None:
    assert run("--api", f"http://127.0.0.1:{free_port()}", "--interval", "0.5").exit_code == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_a_terminal_it_goes_on_until_it_is_ended(
    api: httpx.Client, measured: None, number: int
) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "watch", "--api", url_of(api), "--interval", "0.5"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(follower)
    shown = ""
    try:
        while not re.search(r"rates over (?!0)", shown):
            shown += os.read(leader, 65_536).decode(errors="replace")
        process.send_signal(number)
        assert process.wait(60) == 0
        shown += os.read(leader, 65_536).decode(errors="replace")
    finally:
        process.kill()
        process.wait(60)
        os.close(leader)
    assert "All is well." in shown
    assert "Traceback" not in shown
    # The terminal is as it was: its own screen, and its cursor.
    assert shown.rindex("\x1b[?1049l") > shown.rindex("\x1b[?1049h")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
