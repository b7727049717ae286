"""`docs/monitoring.md` names each metric of each process with its labels, and no more."""

import re
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.sending import send_again
from tests.conftest import message, serving
from tests.metrics_pages import own_page
from tests.processes import ProcessContainer, wait_until

DOCUMENT = Path(__file__).parent.parent / "docs" / "monitoring.md"
ROW = re.compile(r"^\| (`.*?`) \| (.*?) \| .* \|$", re.MULTILINE)
METRIC = re.compile(r"`(\w+)(?:\{(.*?)\})?`")
# What a family's samples are called, beside the family.
ENDINGS = ("_bucket", "_count", "_sum", "_total", "_created")
Shown = dict[str, set[str]]

COUNT_TENANTS = text("""
insert into term_statistics (tenant_id, messages, content_length, context_length)
select tenant_id, count(*), 1, 1 from messages group by tenant_id
""")
END_JOB = text("""
insert into jobs (tenant_id, id, kind, state, result, started_by, finished_at)
values ('*', gen_random_uuid(), 'backup', 'completed',
  '{"taken_at": "2026-01-01T00:00:00Z", "bytes": 1, "seconds": 0.1}', 'test', now())
""")


def documented() -> dict[str, Shown]:
    """The metrics of each process with their labels, as the tables have them."""
    found: dict[str, Shown] = defaultdict(dict)
    for names, processes in ROW.findall(DOCUMENT.read_text()):
        for process in processes.replace("all", "API, worker, beat").split(", "):
            for name, labels in METRIC.findall(names):
                if process in ("API", "worker", "beat"):
                    found[process][name] = set(filter(None, labels.split(", ")))
    return found


def shown(page: str) -> Shown:
    """The metrics of a page, each with the labels of its samples."""
    found: Shown = {}
    for family in text_string_to_metric_families(page):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels}
        if not name.startswith("process_") and family.samples:
            found[name] = labels - ({"le"} if family.type == "histogram" else set())
    return found


@pytest.fixture
def told(settings: Settings) -> Settings:
    """Settings with which each metric has something to show."""
    return msgspec.structs.replace(settings, metrics_tenants=True, archive_dir=settings.data_dir)


def test_every_metric_is_documented_and_there(
    told: Settings, worker: CeleryTestWorker, beat: ProcessContainer, owner: Connection
) -> None:
    with Celery("memory-test", set_as_current=False) as app, serving(told) as api:
        app.conf.update(celery_configuration(told))
        api.post("/v1/messages", json=message())
        api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "peanuts"})
        owner.execute(COUNT_TENANTS)
        owner.execute(END_JOB)
        send_again(app, "measure_store")
        wait_until(lambda: "memory_store_tenants" in api.get("/metrics").text, "it is measured")
        container: ProcessContainer = worker.container
        wait_until(lambda: "celery_tasks_total{" in own_page(container), "a task has ended")
        served = {
            "API": shown(api.get("/metrics").text),
            "worker": shown(own_page(container)),
            "beat": shown(own_page(beat)),
        }
    written = documented()
    # Only with its own setting, and only with a provider behind HTTP.
    written["API"].pop("memory_store_tenant_messages")
    # Only with another broker than Redis.
    written["API"].pop("broker_up")
    # Only with read replicas.
    written["API"].pop("memory_replica_fresh")
    written["API"].pop("memory_replica_lag_seconds")
    for process in ("API", "worker"):
        written[process].pop("embedding_breaker_state")
    for process, metrics in served.items():
        assert metrics == written[process], process
