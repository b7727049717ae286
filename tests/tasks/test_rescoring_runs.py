"""Runs of rescoring: tenant after tenant, on from where another stopped, killed or not."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.indexing import COUNTED_FROM, refresh
from tasks.jobs import Held, NewJob, start_job, take, work
from tasks.rescoring import rescore_step, scheduled_rescoring
from tasks.resources import Resources
from tests.api.speaking import Speaker
from tests.conftest import message
from tests.processes import wait_until
from tests.tasks.ageing import JOB
from tests.tasks.crowds import say_many


@pytest.fixture
def speaker(api: httpx.Client) -> Speaker:
    """A tenant of a service of which no worker runs."""
    return Speaker(api, "acme")


def begin(resources: Resources, new: NewJob) -> UUID:
    """The id of the job `new`, on which nobody works yet."""
    with resources.engine.begin() as connection:
        return start_job(connection, new)


def everybody(started_by: str = "test") -> NewJob:
    return NewJob("rescore", "*", {}, started_by)


def held(resources: Resources, job_id: UUID, tenant_id: str = "*") -> Held:
    taken = take(resources, tenant_id, job_id)
    assert taken is not None
    return taken


def ended(resources: Resources, job_id: UUID, tenant_id: str = "*") -> dict[str, Any]:
    """Work on a job until it has ended; its result."""
    said = work(resources, tenant_id, job_id, rescore_step)
    with resources.engine.begin() as connection:
        job = connection.execute(JOB, {"id": job_id}).one()
    assert job.state == "completed", (said, job.error)
    return dict(job.result)


def test_a_run_walks_through_the_tenants(
    speaker: Speaker, owner: Connection, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.rescoring.SLICE_MESSAGES", 2)
    for tenant_id, count in (("b", 3), ("a", 2), ("c", 1)):
        for number in range(count):
            speaker.say(f"note {number}", tenant_id=tenant_id)
    job_id = begin(resources, everybody())
    job = held(resources, job_id)
    walked = []
    while rescore_step(resources, job) is None:
        walked.append((job.position["tenant"], job.done))
    assert walked == [("a", 2), ("a", 2), ("b", 4), ("b", 5), ("c", 6)]
    assert owner.scalar(text("select count(*) from messages where rarity is null")) == 0


def test_a_run_goes_on_where_another_stopped(
    speaker: Speaker, owner: Connection, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.rescoring.SLICE_MESSAGES", 2)
    for tenant_id in ("a", "b"):
        for number in range(3):
            speaker.say(f"note {number}", tenant_id=tenant_id)
    job_id = begin(resources, everybody())
    lost = held(resources, job_id)
    for _ in range(3):
        assert rescore_step(resources, lost) is None
    owner.execute(text("update jobs set lease_until = now() - interval '1 s'"))
    known = text("select count(*) from messages where rarity is not null")
    assert owner.scalar(known) == 5
    owner.execute(text("update messages set rarity = null"))
    assert ended(resources, job_id) == {"messages": 6, "changed": 6, "tenants": 2}
    # What the first had done was not done again.
    assert owner.scalar(known) == 1


def test_a_run_for_one_tenant_touches_no_other(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    for tenant_id in ("a", "b"):
        speaker.say("a note", tenant_id=tenant_id)
    job_id = begin(resources, NewJob("rescore", "b", {}, "test"))
    assert ended(resources, job_id, "b") == {"messages": 1, "changed": 1, "tenants": 1}
    assert list(owner.scalars(text("select tenant_id from messages where rarity is null"))) == ["a"]
    nobody = begin(resources, NewJob("rescore", "nobody", {}, "test"))
    assert ended(resources, nobody, "nobody")["messages"] == 0


def test_counts_that_the_last_run_has_seen_are_not_looked_at_again(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    say_many(speaker)
    refresh(resources, "acme")
    owner.execute(text("update term_statistics set refreshed_at = now() - interval '1 hour'"))
    known = text("select count(*) from messages where rarity > 0.001")
    wrong = text("update messages set rarity = 0, importance_score = 0")
    ended(resources, begin(resources, everybody()))
    assert owner.scalar(known) == COUNTED_FROM
    owner.execute(wrong)
    ended(resources, begin(resources, everybody()))
    assert owner.scalar(known) == 0
    owner.execute(text("update term_statistics set refreshed_at = now()"))
    owner.execute(OTHER_RUN)
    owner.execute(wrong)
    ended(resources, begin(resources, everybody()))
    assert owner.scalar(known) == COUNTED_FROM
    owner.execute(text("update term_statistics set refreshed_at = now() - interval '1 day'"))
    owner.execute(wrong)
    # By hand for one tenant: whatever is known is found out again.
    ended(resources, begin(resources, NewJob("rescore", "acme", {}, "test")), "acme")
    assert owner.scalar(known) == COUNTED_FROM


def test_the_schedule_has_one_run_at_a_time(resources: Resources) -> None:
    new = scheduled_rescoring(resources.settings, datetime.now(UTC))
    first = begin(resources, new)
    assert begin(resources, new) == first
    assert begin(resources, everybody()) != first
    ended(resources, first)
    assert begin(resources, new) != first


def test_kept_answers_end_where_a_score_has_changed(speaker: Speaker, resources: Resources) -> None:
    other = Speaker(speaker.api, "globex")
    for each in (speaker, other):
        each.say("bees")
        assert not each.answer("bees")["cached"]
    ended(resources, begin(resources, NewJob("rescore", "acme", {}, "test")), "acme")
    assert other.answer("bees")["cached"]
    assert not speaker.answer("bees")["cached"]
    ended(resources, begin(resources, NewJob("rescore", "acme", {}, "test")), "acme")
    assert speaker.answer("bees")["cached"]


OTHER_RUN = text("""
insert into jobs (tenant_id, id, kind, state, started_by, started_at)
values ('*', gen_random_uuid(), 'retention', 'completed', 'test', now() + interval '1 day')
""")
KNOWN = text("select count(*) from messages where rarity is not null")
WAITING = text(
    "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    " and datname = current_database()"
)
# What a killed worker held is free at once: no test waits for a minute's lease.
END_LEASES = text(
    "update jobs set lease_until = now() - interval '1 second' where runner is not null"
)


def test_killed_in_the_middle_a_run_goes_on_where_it_stood(
    speaker: Speaker, settings: Settings, worker: CeleryTestWorker, owner: Connection
) -> None:
    ids = {}
    for tenant_id in ("a", "b", "c"):
        for start in (0, 1_000):
            said = [message(content=f"note {n} of bees") for n in range(start, start + 1_000)]
            ids[tenant_id] = Speaker(speaker.api, tenant_id).say_all(said)
    last_b = UUID(max(ids["b"]))
    owner.execute(text("update messages set embedding_status = 'completed', markers = null"))
    job = text("select state, done, result from jobs")
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
            holder.execute(text("update messages set pinned = true where id = :id"), {"id": last_b})
            for _ in range(2):
                app.send_task("rescore_importance")
            wait_until(lambda: owner.scalar(WAITING) == 1, "it waits in the middle of a slice")
            worker.kill()
            holder.rollback()
        killed = owner.execute(job).one()
        assert (killed.state, killed.done) == ("running", 3_000)
        wait_until(lambda: owner.scalar(KNOWN) == 3_000, "the slice is rolled back")
        owner.execute(END_LEASES)
        worker.restart()
        app.send_task("restart_stalled_jobs")
        wait_until(lambda: owner.execute(job).one().state == "completed", "it has ended", 60)
    assert owner.execute(job).one().done == 6_000
    result = {"messages": 6_000, "changed": 6_000, "tenants": 3}
    assert owner.execute(job).one().result == result
    assert owner.scalar(KNOWN) == 6_000
    assert owner.scalar(text("select count(*) from messages where markers is null")) == 0
