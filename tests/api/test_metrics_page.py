"""Figures of the whole store on the metrics page."""

import time
from typing import get_args
from uuid import uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from api.metrics_page import DESCRIBED
from api.probes import GAUGE_SECONDS
from memory.jobs import JobKind
from memory.settings import Settings
from tasks.measuring import measure
from tasks.resources import Resources
from tests.api.outages import no_database
from tests.api.test_metrics import counts
from tests.conftest import message

FAIL_ONE = text("""
update messages set embedding_status = 'failed' where id in (select id from messages limit 1)
""")
END_JOB = text("""
insert into jobs (tenant_id, id, kind, state, arguments, started_by, finished_at)
values ('*', :id, 'retention', :state, cast(:arguments as jsonb), 'test',
  now() - make_interval(mins => :ago))
""")
BACKED_UP = text("""
insert into jobs (tenant_id, id, kind, state, arguments, started_by, finished_at, result)
values ('*', :id, 'backup', 'completed', '{}', 'test', now(),
  jsonb_build_object('taken_at', now(), 'bytes', 1, 'seconds', 1))
""")
COUNT_TENANTS = text("""
insert into term_statistics (tenant_id, messages, content_length, context_length)
select tenant_id, count(*), 1, 1 from messages group by tenant_id
""")
RETENTION = '{kind="retention"}'


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
    assert time.time() - found.pop("memory_store_measured_timestamp_seconds") < 60
    assert found.pop("memory_store_bytes") > 1_000_000
    buckets = [name for name in found if name.startswith("memory_store_importance_bucket")]
    # By their edges, where +Inf comes first.
    shares = [found.pop(name) for name in (*sorted(buckets)[1:], min(buckets))]
    assert len(shares) == 11
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 3)
    assert found == {
        "memory_store_messages": 3,
        "memory_store_pending_messages": 2,
        "memory_store_failed_messages": 1,
        "memory_store_archived_messages": 0,
        "memory_store_tenants": 1,
        'memory_store_active_jobs{state="queued"}': 0,
        'memory_store_active_jobs{state="running"}': 0,
        **{f'memory_store_job_failed{{kind="{kind}"}}': 0 for kind in get_args(JobKind)},
    }
    assert "# TYPE memory_store_messages gauge\n" in api.get("/metrics").text


def test_what_is_measured_is_described(resources: Resources, owner: Connection) -> None:
    owner.execute(BACKED_UP, {"id": uuid4()})
    labelled = {name for name, described in DESCRIBED.items() if described.label}
    assert measure(resources).keys() | labelled == DESCRIBED.keys()


def ended(owner: Connection, state: str, minutes_ago: int, arguments: str = "{}") -> None:
    row = {"id": uuid4(), "state": state, "ago": minutes_ago, "arguments": arguments}
    owner.execute(END_JOB, row)


def test_the_last_job_of_a_kind_tells_whether_it_failed(
    api: httpx.Client, resources: Resources, owner: Connection
) -> None:
    def of_retention() -> tuple[float, float | None]:
        measure(resources)
        found = of_the_store(api)
        completed = found.get(f"memory_store_job_completed_timestamp_seconds{RETENTION}")
        failed = found[f"memory_store_job_failed{RETENTION}"]
        return failed, completed and round((time.time() - completed) / 60)

    ended(owner, "completed", 30)
    assert of_retention() == (0, 30)
    ended(owner, "failed", 20)
    assert of_retention() == (1, 30)
    # What only counted has not mended it, and what is cancelled tells nothing.
    ended(owner, "completed", 10, '{"dry_run": true}')
    ended(owner, "cancelled", 5)
    assert of_retention() == (1, 30)
    ended(owner, "completed", 2)
    assert of_retention() == (0, 2)


def test_tenants_are_named_only_when_they_are_to_be(
    api: httpx.Client, settings: Settings, owner: Connection
) -> None:
    for tenant_id, messages in (("acme", 3), ("globex", 1)):
        for _ in range(messages):
            api.post("/v1/messages", json=message(tenant_id=tenant_id))
    owner.execute(COUNT_TENANTS)
    for named in (True, False):
        told = Resources(msgspec.structs.replace(settings, metrics_tenants=named))
        measure(told)
        told.close()
        found = of_the_store(api)
        assert found["memory_store_tenants"] == 2
        by_tenant = {name: n for name, n in found.items() if "tenant_messages" in name}
        shown = {"acme": 3, "globex": 1} if named else {}
        prefix = "memory_store_tenant_messages"
        assert by_tenant == {f'{prefix}{{tenant="{name}"}}': n for name, n in shown.items()}


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
        assert time.monotonic() - began < 10 * GAUGE_SECONDS
    assert of_the_store(api)
