"""A running service, watched: each alert fires at its fault.

The tests go one after the other over one service, which each leaves as it has found it; what needs
minutes to be over comes last.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.queries.jobs import FAIL_EXHAUSTED_JOBS
from tests.api.outages import no_database
from tests.grafana.programs import has_prometheus
from tests.grafana.reading import alerts
from tests.grafana.second import second_api
from tests.grafana.stack import Stack
from tests.grafana.watching import Prometheus
from tests.memory.embedding.fake_api import Answer
from tests.processes import wait_until
from tests.tasks.ageing import grow_old, matter

pytestmark = has_prometheus

SEARCHED = 'http_request_duration_seconds_count{endpoint="/v1/memory/search"}'
UNAVAILABLE = 'http_requests_total{endpoint="/v1/messages", status="503"}'
UNREACHABLE = 'database_up{instance="127.0.0.1:PORT"}'
STARTED = 'process_start_time_seconds{job="memory-beat"}'
DAYS_AGO = """
update jobs set finished_at = finished_at - interval '3 days' where kind = 'retention'
"""
BACKED_UP_DAYS_AGO = """
update jobs set result = result || jsonb_build_object('taken_at', now() - interval '3 days')
where kind = 'backup'
"""
BACKUP_FAILED = """
insert into jobs (tenant_id, id, kind, state, arguments, started_by, error, finished_at)
values ('*', gen_random_uuid(), 'backup', 'failed', '{}', 'schedule', 'no room', now())
"""
WAITS_LONG = """
update messages set pending_since = now() - interval '6 minutes' where embedding_status = 'pending'
"""


def test_no_api_answers(stack: Stack, watch: Prometheus, manager: httpx.Client | None) -> None:
    with stack.without("api"):
        watch.waits_for("APIDown", "InstanceDown")
        if manager:
            wait_until(lambda: told(manager).get("APIDown") == "active", "it is told")
            wait_until(lambda: told(manager)["InstanceDown"] == "suppressed", "what follows is not")
    watch.waits_for_the_end_of("APIDown", "InstanceDown")


def told(manager: httpx.Client) -> dict[str, str]:
    """What Alertmanager makes of each alert that it has."""
    known = manager.get("/api/v2/alerts").json()
    return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in known}


def test_no_beat_is_at_work(stack: Stack, watch: Prometheus) -> None:
    with stack.without("beat"):
        watch.waits_for("BeatNotBeating")
    watch.waits_for_the_end_of("BeatNotBeating")


def test_no_worker_works(stack: Stack, watch: Prometheus) -> None:
    with stack.without("worker"):
        watch.waits_for("WorkerDown")
        stack.say("It waits.")
        stack.sql(WAITS_LONG)
        stack.measure()
        watch.waits_for("PendingLag")
        stack.sql("update store_gauges set measured_at = now() - interval '6 minutes'")
        watch.waits_for("StoreNotMeasured")
    wait_until(lambda: not stack.pending(), "it has its vector")
    stack.measure()
    watch.waits_for_the_end_of("WorkerDown", "PendingLag", "StoreNotMeasured")


def test_the_last_retention_run_failed(stack: Stack, watch: Prometheus) -> None:
    id_ = stack.say("It goes.").json()["id"]
    obstacle = stack.archive / "tenant-acme"
    with stack.owner as connection:
        matter(connection, 0.0, [id_])
        grow_old(connection, 40, [id_])
        assert stack.run_retention() == "completed"
        grow_old(connection, 100, [id_])
    obstacle.write_text("A file where there should be a folder.")
    assert stack.run_retention() == "running"
    # As after five attempts, which take minutes.
    stack.sql("update jobs set attempts = 5, lease_until = null where state = 'running'")
    with stack.owner as connection:
        assert connection.execute(FAIL_EXHAUSTED_JOBS, {"max_attempts": 5}).all()
    obstacle.unlink()
    stack.measure()
    watch.waits_for("RetentionFailed")
    assert stack.run_retention() == "completed"
    stack.measure()
    watch.waits_for_the_end_of("RetentionFailed")


def test_retention_has_not_run_for_days(stack: Stack, watch: Prometheus) -> None:
    assert "RetentionOverdue" not in watch.firing()
    stack.sql(DAYS_AGO)
    stack.measure()
    watch.waits_for("RetentionOverdue")
    assert stack.run_retention() == "completed"
    stack.measure()
    watch.waits_for_the_end_of("RetentionOverdue")


def test_the_newest_backup_is_days_old(stack: Stack, watch: Prometheus) -> None:
    assert "BackupTooOld" not in watch.firing()
    stack.sql(BACKED_UP_DAYS_AGO)
    stack.measure()
    watch.waits_for("BackupTooOld")
    stack.back_up()
    stack.measure()
    watch.waits_for_the_end_of("BackupTooOld")


def test_the_last_backup_failed(stack: Stack, watch: Prometheus) -> None:
    stack.sql(BACKUP_FAILED)
    stack.measure()
    watch.waits_for("BackupFailed")
    stack.back_up()
    stack.measure()
    watch.waits_for_the_end_of("BackupFailed")


def test_a_replica_is_away(stack: Stack, watch: Prometheus) -> None:
    with stack.without_replica():
        watch.waits_for("ReplicaStale")
        assert stack.ask("text 1").status_code == 200
    watch.waits_for_the_end_of("ReplicaStale")


def test_a_disk_is_full(stack: Stack, watch: Prometheus) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(stack.archive)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here; promtool has shown it of made-up figures")
    try:
        (stack.archive / "old").write_bytes(bytes(3_800_000))
        assert "DiskCritical" not in firing_of(watch.waits_for("DiskLow"))
        (stack.archive / "older").write_bytes(bytes(300_000))
        watch.waits_for("DiskCritical")
    finally:
        subprocess.run(["umount", str(stack.archive)], check=True)
    watch.waits_for_the_end_of("DiskLow", "DiskCritical")


def test_redis_is_away(stack: Stack, watch: Prometheus) -> None:
    with stack.without_redis():
        for number in range(3):
            assert stack.say(f"text {number} without a broker").status_code == 202
        watch.waits_for("RedisDown", "BrokerDown", "PublishDropped")

    def over() -> bool:
        # Beat ends when it finds its lock gone, and is started again by whoever runs it.
        if not stack.parts["beat"].ready():
            stack.parts["beat"].start()
        firing = watch.firing() & {"RedisDown", "BrokerDown", "BeatNotBeating"}
        return not firing and not stack.pending()

    wait_until(over, "Redis is there, beat at work, and what waited was sent by the sweep")


def test_connections_are_used_up_and_all_is_slow(stack: Stack, watch: Prometheus) -> None:
    stack.some_requests(1)
    wait_until(lambda: watch.value(SEARCHED), "a counter that is born at 1 has never risen")
    stack.some_requests(24)
    with stack.locked(4) as callers:
        for _ in range(2):
            callers.submit(stack.client.get, "/v1/messages", params={"tenant_id": "acme"})
        for number in range(6):
            callers.submit(stack.say, f"text {number}")
            callers.submit(stack.ask, f"text {number}")
        watch.waits_for("PoolExhausted")
    watch.waits_for("SlowStorage", "SlowSearch")
    watch.waits_for_the_end_of("PoolExhausted")


def test_the_database_is_away(stack: Stack, watch: Prometheus) -> None:
    assert "ErrorRate" not in watch.firing()
    with no_database(stack.settings.database_url):
        watch.waits_for("DatabaseDown")
        assert stack.say("text 0").status_code == 503
        wait_until(lambda: watch.value(UNAVAILABLE), "it is counted, and may rise")
        for number in range(30):
            assert stack.say(f"text {number}").status_code == 503
        watch.waits_for("ErrorRate")
    watch.waits_for_the_end_of("DatabaseDown")


def test_one_api_of_two_does_not_reach_the_database(
    stack: Stack, watch: Prometheus, tmp_path: Path
) -> None:
    with second_api(stack.settings, tmp_path) as (port, way), watch.reading_too(port):
        its = UNREACHABLE.replace("PORT", str(port))
        wait_until(lambda: watch.value(its) == 1, "the second API is read")
        way.cut()
        found = watch.waits_for("DatabaseUnreachable")
        assert "DatabaseDown" not in firing_of(found)
        labels = [each["labels"] for each in found if "Unreachable" in each["labels"]["alertname"]]
        assert [each["instance"] for each in labels] == [f"127.0.0.1:{port}"]
    watch.waits_for_the_end_of("DatabaseUnreachable")


def test_a_message_is_given_up(stack: Stack, watch: Prometheus) -> None:
    stack.provider.answers = [Answer(422)]
    stack.say("What no model takes.")
    watch.waits_for("EmbeddingsFailed")


def test_somebody_guesses_keys(stack: Stack, watch: Prometheus) -> None:
    def guess(number: int) -> int:
        wrong = {"x-api-key": f"guess-{number}"}
        return stack.client.get("/v1/messages", headers=wrong).status_code

    # At once, for each has to wait longer for its answer.
    with ThreadPoolExecutor(10) as callers:
        assert set(callers.map(guess, range(30))) == {401, 429}
    watch.waits_for("AbuseBlocked")


def test_the_provider_is_away(stack: Stack, watch: Prometheus) -> None:
    stack.provider.answers = [Answer(500)] * 1_000
    for number in range(5):
        stack.ask(f"text {number} of nobody")
    found = watch.waits_for("BreakerOpen")
    labels = [alert["labels"] for alert in found if alert["labels"]["alertname"] == "BreakerOpen"]
    assert [each["provider"] for each in labels] == ["OpenAI"]


def test_a_process_is_started_again_and_again(stack: Stack, watch: Prometheus) -> None:
    def start_again() -> None:
        before = watch.value(STARTED)
        stack.parts["beat"].restart()
        wait_until(lambda: watch.value(STARTED) not in (None, before), "it is read")

    for _ in range(4):
        start_again()
    watch.waits_for("RestartLoop")


def test_each_alert_was_seen_and_its_words_were_complete(watch: Prometheus) -> None:
    series = watch.query('count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))')
    seen = {each["metric"]["alertname"] for each in series}
    assert {rule["alert"] for rule in alerts()} - seen <= {"DiskLow", "DiskCritical"}
    for alert in watch.get("alerts")["alerts"]:
        for text in alert["annotations"].values():
            assert "<" not in text
            assert "no value" not in text


def firing_of(found: list[dict[str, Any]]) -> set[str]:
    """The names of those that fire."""
    return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}
