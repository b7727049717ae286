"""What is wrong is found, and nothing else is; and it is what the alerts look at."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import yaml

from cli.watching.findings import FOLLOWS, findings
from cli.watching.reading import (
    Endpoint,
    Events,
    Figures,
    Parts,
    Pipeline,
    Process,
    Requests,
    Store,
)
from cli.watching.rules import RULES
from tests.grafana.reading import GRAFANA, alerts
from tests.test_docs import ROOT

API, WORKER, BEAT = (f"http://127.0.0.1:{port}/metrics" for port in (8000, 9101, 9102))
ALL = Endpoint("all", 100, 50.0, 0.0, 0.01, 0.05)
STORING = Endpoint("POST /v1/messages", 60, 30.0, 0.0, 0.01, 0.05)
SEARCHING = Endpoint("GET /v1/memory/search", 40, 20.0, 0.0, 0.03, 0.2)
WELL = Figures(
    time=datetime(2026, 11, 21, 21, 30, tzinfo=UTC),
    seconds=60.0,
    processes=[
        Process("api", API, answers=True, memory_bytes=2e8, cpu_share=0.1, up_seconds=1_000),
        Process("worker", WORKER, answers=True, memory_bytes=4e8, up_seconds=1_000),
        Process("beat", BEAT, answers=True, memory_bytes=1e8, cpu_share=0.0, up_seconds=1_000),
    ],
    requests=Requests(
        all=ALL,
        endpoints=[STORING, SEARCHING],
        in_flight=1,
        searches_per_second=20.0,
        degraded={"embedding": 0},
        legs_p95={"embed": 0.01, "find": 0.05, "rerank": None, "dress": 0.001},
        cache_hits={"search_answer": 0.25},
        refused={},
    ),
    pipeline=Pipeline(
        stored_per_second=30.0,
        embedded_per_second=29.0,
        lag_p95=0.4,
        queues={"embeddings": 3, "maintenance": 0},
        tasks={"embed_messages": {"success": 12}},
        archived=0,
        deleted=0,
    ),
    store=Store(
        messages=12_345,
        pending=3,
        oldest_pending_seconds=1.0,
        failed=0,
        archived=7,
        bytes=2e7,
        measured_seconds_ago=30.0,
        retention_completed_seconds_ago=7_200.0,
        retention_failed=False,
        backup_seconds_ago=7_200.0,
        backup_failed=False,
    ),
    parts=Parts(
        database_up=True,
        redis_up=True,
        broker_up=None,
        without_database=[],
        pools={API: (2, 30)},
        breakers={"openai": 0},
        replicas={"1": 1},
        disks={"data": 0.4},
        beat_leaders=1,
        beat_ticked_seconds_ago=2.0,
    ),
    events=Events(
        seconds=300.0,
        requests=500,
        requests_failed=0,
        publish_dropped=0,
        given_up=0,
        wrong_keys_refused=0,
    ),
)


def but(part: str = "", **changes: Any) -> Figures:
    """A service that is well, but for changes of a part of its figures."""
    if not part:
        return msgspec.structs.replace(WELL, **changes)
    changed = msgspec.structs.replace(getattr(WELL, part), **changes)
    return msgspec.structs.replace(WELL, **{part: changed})


def without(*parts: str, also: tuple[Process, ...] = ()) -> Figures:
    """A service of which processes are silent."""
    away = {"answers": False, "why_not": "nobody listens there"}
    return but(
        processes=[
            msgspec.structs.replace(each, **away) if each.part in parts else each
            for each in [*WELL.processes, *also]
        ]
    )


def asked(of: Endpoint, **changes: Any) -> Figures:
    """One endpoint is not as it should be."""
    return but("requests", endpoints=[msgspec.structs.replace(of, **changes)])


def started(times: float) -> list[Process]:
    """The processes, of which the worker was started so often."""
    return [
        msgspec.structs.replace(each, restarts=times) if each.part == "worker" else each
        for each in WELL.processes
    ]


SECOND_WORKER = Process("worker", "http://10.0.0.6:9101/metrics", answers=False, why_not="why")

WRONG = [
    ("APIDown", without("api"), "No API answers at 127.0.0.1:8000: nobody listens there"),
    ("WorkerDown", without("worker"), "No worker answers at 127.0.0.1:9101: nobody listens"),
    ("BeatNotBeating", without("beat"), "No beat answers at 127.0.0.1:9102"),
    ("BeatNotBeating", but("parts", beat_ticked_seconds_ago=61), "schedule for 1.0 min"),
    ("InstanceDown", without(also=(SECOND_WORKER,)), "One worker does not answer at 10.0.0.6:9101"),
    ("DatabaseDown", but("parts", database_up=False), "The database does not answer"),
    ("RestartLoop", but(processes=started(4)), "The worker at 127.0.0.1:9101 was started 4 times"),
    ("DatabaseUnreachable", but("parts", without_database=[API]), "API at 127.0.0.1:8000 does not"),
    ("RedisDown", but("parts", redis_up=False), "Redis does not answer"),
    ("BrokerDown", but("parts", broker_up=False), "The broker does not answer"),
    ("PoolExhausted", but("parts", pools={API: (30, 30)}), "All 30 database connections"),
    ("ReplicaStale", but("parts", replicas={"1": 0, "2": 1}), "do not go to read replica 1"),
    ("DiskLow", but("parts", disks={"data": 0.09}), "Only 9.0% of the disk of the data folder"),
    ("DiskCritical", but("parts", disks={"archive": 0.04}), "Only 4.0% of the disk of the archive"),
    ("ErrorRate", but("events", requests_failed=30), "6.0% of the requests fail"),
    ("ErrorRate", but("events", requests=4, requests_failed=4), "100% of the requests fail"),
    ("SlowStorage", asked(STORING, p95=0.11), "Storing a message takes 110 ms (p95)"),
    ("SlowSearch", asked(SEARCHING, p95=0.6), "A search takes 600 ms (p95)"),
    ("AbuseBlocked", but("events", wrong_keys_refused=5), "5 requests refused"),
    ("PublishDropped", but("events", publish_dropped=3), "tasks of 3 messages"),
    ("PendingLag", but("store", oldest_pending_seconds=360), "waited for its vector for 6.0 min"),
    ("EmbeddingsFailed", but("store", failed=2), "not tried again: 2"),
    ("EmbeddingsFailed", but("events", given_up=1), "not tried again: 1"),
    ("BreakerOpen", but("parts", breakers={"openai": 2}), "openai has failed time and again"),
    ("StoreNotMeasured", but("store", measured_seconds_ago=200), "measured 3.3 min ago"),
    ("StoreNotMeasured", but("store", measured_seconds_ago=None), "is not measured"),
    ("RetentionFailed", but("store", retention_failed=True), "The last retention run for all"),
    ("RetentionOverdue", but("store", retention_completed_seconds_ago=180_000), "completed 2.1 d"),
    ("BackupFailed", but("store", backup_failed=True), "The last backup of the schedule has"),
    ("BackupTooOld", but("store", backup_seconds_ago=180_000), "newest backup is 2.1 d old"),
]

FEW = {"count": 20}
NOT_WRONG = [
    ("all is well", WELL),
    ("a few slow messages", asked(STORING, p95=3.0, **FEW)),
    ("a few slow searches", asked(SEARCHING, p95=3.0, **FEW)),
    ("another slow endpoint", asked(Endpoint("GET /v1/jobs", 60, 1.0, 0.0, 5.0, 9.0))),
    ("a few errors", but("events", requests=3, requests_failed=3)),
    ("few of many", but("events", requests_failed=25)),
    ("nothing is asked", but("events", requests=0)),
    ("three restarts", but(processes=started(3))),
    ("nobody tries a provider again", but("parts", breakers={"openai": 1})),
    ("retention has never run", but("store", retention_completed_seconds_ago=None)),
    ("retention ran the night before last", but("store", retention_completed_seconds_ago=172_000)),
    ("no backup was ever made or wanted", but("store", backup_seconds_ago=None)),
    ("no Redis is used", but("parts", redis_up=None)),
    ("no worker is looked at", but(processes=WELL.processes[:1])),
    ("a disk that is a tenth free", but("parts", disks={"data": 0.10})),
]


@pytest.mark.parametrize(("alert", "figures", "text"), WRONG)
def test_what_is_wrong_is_found_and_nothing_else(alert: str, figures: Figures, text: str) -> None:
    (found,) = findings(figures)
    assert found.alert == alert
    assert text in found.text
    assert found.runbook == f"docs/runbook.md#{alert.lower()}"


@pytest.mark.parametrize(("what", "figures"), NOT_WRONG)
def test_what_is_not_wrong_is_not_found(what: str, figures: Figures) -> None:
    assert findings(figures) == [], what


def test_a_store_is_not_expected_to_be_measured_at_once() -> None:
    young = [msgspec.structs.replace(each, up_seconds=60) for each in WELL.processes]
    unmeasured = msgspec.structs.replace(WELL.store, measured_seconds_ago=None)
    assert findings(but(processes=young, store=unmeasured)) == []


def test_the_critical_comes_first() -> None:
    both = msgspec.structs.replace(but("store", failed=1), parts=but("parts", redis_up=False).parts)
    assert [each.alert for each in findings(both)] == ["RedisDown", "EmbeddingsFailed"]


def test_it_is_what_the_alerts_look_at_and_all_of_it() -> None:
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in alerts()}
    assert {rule.alert: rule.severity for rule in RULES} == severities
    assert {alert for alert, _, _ in WRONG} == severities.keys()


def test_what_follows_from_something_else_is_not_told() -> None:
    unmeasured = but("store", measured_seconds_ago=None)
    away = but("parts", database_up=False, without_database=[API]).parts
    down = msgspec.structs.replace(unmeasured, parts=away)
    assert [each.alert for each in findings(down)] == ["DatabaseDown"]


def test_what_follows_from_what_is_as_alertmanager_has_it() -> None:
    inhibiting: dict[str, set[str]] = {}
    for rule in yaml.safe_load((GRAFANA / "alertmanager.yml").read_text())["inhibit_rules"]:
        if "equal" not in rule:
            (source,) = re.findall(r'"(\w+)"', str(rule["source_matchers"]))
            (targets,) = re.findall(r'"([\w|]+)"', str(rule["target_matchers"]))
            inhibiting.setdefault(source, set()).update(targets.split("|"))
    assert {cause: set(names.split()) for cause, names in FOLLOWS.items()} == inhibiting


def test_what_to_do_stands_where_it_is_said_to() -> None:
    sections = (ROOT / "docs" / "runbook.md").read_text().splitlines()
    for rule in RULES:
        assert f"## {rule.alert}" in sections
