"""Figures of the whole store on the metrics page."""

import re
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, text

from api.metrics_page import DESCRIBED
from api.probes import GAUGE_SECONDS
from memory.settings import Settings
from tasks.measuring import measure
from tasks.resources import Resources
from tests.api.outages import no_database
from tests.api.test_metrics import counts
from tests.conftest import message

FAIL_ONE = text("""
update messages set embedding_status = 'failed' where id in (select id from messages limit 1)
""")
DOCUMENTED = Path(__file__).parents[2] / "docs" / "monitoring.md"


@pytest.fixture
def resources(settings: Settings):
    resources = Resources(settings)
    yield resources
    resources.close()


def of_the_store(api: httpx.Client) -> dict[str, float]:
    return {name: value for name, value in counts(api).items() if name.startswith("memory_store_")}


def test_what_was_measured_is_shown(
    api: httpx.Client, resources: Resources, owner: Connection
) -> None:
    assert of_the_store(api) == {}
    for _ in range(3):
        api.post("/v1/messages", json=message())
    owner.execute(FAIL_ONE)
    measure(resources)
    found = of_the_store(api)
    assert found.pop("memory_store_oldest_pending_seconds") < 60
    assert found == {
        "memory_store_messages": 3,
        "memory_store_pending_messages": 2,
        "memory_store_failed_messages": 1,
        "memory_store_archived_messages": 0,
        'memory_store_active_jobs{state="queued"}': 0,
        'memory_store_active_jobs{state="running"}': 0,
    }
    assert "# TYPE memory_store_messages gauge\n" in api.get("/metrics").text


def test_what_is_measured_is_described(resources: Resources) -> None:
    assert measure(resources).keys() | {"active_jobs"} == DESCRIBED.keys()


def test_old_figures_are_left_out(
    api: httpx.Client, resources: Resources, owner: Connection
) -> None:
    measure(resources)
    ago = text("update store_gauges set measured_at = now() - make_interval(secs => :seconds)")
    owner.execute(ago, {"seconds": 290})
    assert of_the_store(api)
    owner.execute(ago, {"seconds": 301})
    assert of_the_store(api) == {}


def test_figures_that_this_version_does_not_know_are_passed_over(
    api: httpx.Client, owner: Connection
) -> None:
    owner.execute(text("insert into store_gauges (name, value) values ('of_another_version', 1)"))
    assert of_the_store(api) == {}


def test_without_a_database_the_page_has_the_rest(
    api: httpx.Client, resources: Resources, settings: Settings
) -> None:
    measure(resources)
    api.post("/v1/messages", json=message())
    resources.close()
    with no_database(settings.database_url):
        assert of_the_store(api) == {}
        assert counts(api)["messages_created_total"] == 1
    assert of_the_store(api)


def test_a_silent_database_does_not_keep_the_page(
    api: httpx.Client, resources: Resources, owner: Connection
) -> None:
    measure(resources)
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as another:
        another.execute(text("lock table store_gauges in access exclusive mode"))
        began = time.monotonic()
        assert of_the_store(api) == {}
        assert time.monotonic() - began < GAUGE_SECONDS + 2
    assert of_the_store(api)


def test_every_metric_is_documented(api: httpx.Client, resources: Resources) -> None:
    measure(resources)
    served = set(re.findall(r"^# TYPE (\w+) ", api.get("/metrics").text, re.MULTILINE))
    served = {name for name in served if not name.endswith("_created")}
    written = set(re.findall(r"^\| `(\w+)(?:\{.*?\})?` \|", DOCUMENTED.read_text(), re.MULTILINE))
    assert written == served
