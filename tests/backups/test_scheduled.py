"""Backups of the schedule: a job that a real worker does beside its tasks."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from db.snapshots import alone
from memory.errors import JobLostError
from memory.jobs import ALL_TENANTS
from memory.settings import Settings
from tasks import backups as scheduled
from tasks.backing_up import back_up, record
from tasks.backup_files import backups_in
from tasks.backups import backup_step, scheduled_backup, work_beside
from tasks.configuration import celery_configuration
from tasks.jobs import start_job, take, work
from tasks.measuring import measure
from tasks.periodic import Turn, work_on_jobs
from tasks.resources import Resources
from tasks.sending import send_again
from tasks.stalled import purge
from tests.backups.storing import TENANTS, Watched, fill, wait_until_next_second
from tests.db.rows import set_job
from tests.processes import wait_until

JOBS = text("select state, result, error, attempts, position from jobs where kind = 'backup'")
GAUGES = text("select name, value from store_gauges where name like 'backup_%' order by 1")
CANCEL = text("update jobs set state = 'cancelled', runner = null where kind = 'backup'")


@pytest.fixture
def settings(settings: Settings, backups: Path) -> Settings:
    """Of a service that makes backups, of a store that holds something."""
    fill(settings.database_url)
    changes = {"backup_dir": str(backups), "backup_keep": 1, "embedding_dimensions": 8}
    return msgspec.structs.replace(settings, **changes)


@pytest.fixture
def resources(settings: Settings) -> Any:
    resources = Resources(settings)
    yield resources
    resources.close()


def begin(resources: Resources) -> Any:
    with resources.engine.begin() as connection:
        return start_job(connection, scheduled_backup(resources.settings, None))  # type: ignore[arg-type]


def test_a_worker_makes_the_backup_that_is_due(
    settings: Settings, worker: CeleryTestWorker, owner: Connection, backups: Path
) -> None:
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        send_again(app, "back_up_store")
        wait_until(lambda: [row.state for row in owner.execute(JOBS)] == ["completed"], "done")
    (made,) = backups_in(backups)
    result = owner.execute(JOBS).one().result
    assert result["file"] == made.file
    assert result["verified"] is True
    assert (result["messages"], result["tenants"]) == (sum(TENANTS.values()), len(TENANTS))
    # What was said is in no log.
    assert "said 1" not in worker.logs()


def test_what_it_found_is_a_metric(
    settings: Settings, resources: Resources, owner: Connection, backups: Path
) -> None:
    begun = owner.scalar(
        text("select extract(epoch from min(created_at))::float8 from embedding_models")
    )
    measure(resources)
    assert dict(owner.execute(GAUGES).all()) == {  # type: ignore[arg-type]
        "backup_timestamp_seconds": begun
    }
    manifest = back_up(settings.database_url, backups, Watched(), verify=False)
    record(settings.database_url, manifest, "aiml")
    measure(resources)
    found = dict(owner.execute(GAUGES).all())  # type: ignore[arg-type]
    assert found["backup_timestamp_seconds"] == pytest.approx(manifest.taken_at.timestamp())
    assert found["backup_bytes"] == manifest.bytes
    assert found["backup_duration_seconds"] == manifest.seconds


def test_where_no_backup_is_wanted_none_is_too_old(settings: Settings, owner: Connection) -> None:
    without = Resources(msgspec.structs.replace(settings, backup_dir=""))
    measure(without)
    without.close()
    assert owner.execute(GAUGES).all() == []


def test_who_is_at_it_keeps_the_job_and_says_how_far_it_is(
    resources: Resources, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled, "RENEW_SECONDS", 0.05)
    job_id = begin(resources)
    with alone(resources.settings.database_url, lambda: None):
        thread = work_beside(resources, ALL_TENANTS, job_id)
        waits = {"stage": "waiting for another backup or restore"}
        wait_until(lambda: owner.execute(JOBS).one().position == waits, "it says that it waits")
        assert take(resources, ALL_TENANTS, job_id) is None
    thread.join(60)
    row = owner.execute(JOBS).one()
    assert (row.state, row.attempts) == ("completed", 1)


def test_cancelled_in_the_middle_it_ends_and_leaves_nothing(
    resources: Resources, owner: Connection, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled, "RENEW_SECONDS", 0.05)
    job_id = begin(resources)
    with alone(resources.settings.database_url, lambda: None):
        thread = work_beside(resources, ALL_TENANTS, job_id)
        wait_until(lambda: owner.execute(JOBS).one().state == "running", "it has begun")
        owner.execute(CANCEL)
        thread.join(30)
        assert not thread.is_alive()
    assert owner.execute(JOBS).one().state == "cancelled"
    assert not backups.exists()


def test_a_runner_that_was_killed_uses_up_a_try(
    resources: Resources, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a backup that kills its worker would be begun for ever."""
    job_id = begin(resources)
    for attempt in (1, 2):
        held = take(resources, ALL_TENANTS, job_id)
        assert held
        with resources.engine.begin() as connection:
            held.renew(connection, {"stage": "dumping"}, 5, 10)
        assert owner.execute(JOBS).one().attempts == attempt
        owner.execute(text("update jobs set lease_until = now() - interval '1 second'"))
    owner.execute(text("update jobs set runner = null"))
    with resources.engine.begin() as connection, pytest.raises(JobLostError):
        held.renew(connection, {}, 0, 0)


def test_a_failure_is_noted_and_the_old_ones_stay(
    settings: Settings, owner: Connection, backups: Path
) -> None:
    backups.write_text("no folder")
    failing = Resources(settings)
    said = work(failing, ALL_TENANTS, begin(failing), backup_step)
    failing.close()
    assert said.startswith("put off")
    assert "cannot be written" in owner.execute(JOBS).one().error


def test_where_the_setting_is_missing_the_job_says_so(
    settings: Settings, owner: Connection
) -> None:
    without = Resources(msgspec.structs.replace(settings, backup_dir=""))
    work(without, ALL_TENANTS, begin(without), backup_step)
    without.close()
    assert "MEMORY_BACKUP_DIR is not set" in owner.execute(JOBS).one().error


def test_the_oldest_goes_when_there_is_a_new_one(
    settings: Settings, resources: Resources, backups: Path
) -> None:
    first = back_up(settings.database_url, backups, Watched(), verify=True)
    wait_until_next_second(first)
    said = work(resources, ALL_TENANTS, begin(resources), backup_step)
    assert said.startswith("completed")
    (left,) = backups_in(backups)
    assert left.taken_at > first.taken_at


def test_a_process_without_workers_makes_it_too(
    resources: Resources, owner: Connection, backups: Path
) -> None:
    begin(resources)
    assert work_on_jobs(resources, Turn(60, lambda: False)) is False
    wait_until(lambda: owner.execute(JOBS).one().state == "completed", "done")
    assert len(backups_in(backups)) == 1


def test_when_the_last_one_was_made_is_not_forgotten(
    resources: Resources, owner: Connection
) -> None:
    """A store whose last backup is 40 days old must not look like one that has none."""
    for age in (40, 50):
        with resources.engine.begin() as connection:
            job_id = start_job(connection, scheduled_backup(resources.settings, None))  # type: ignore[arg-type]
        set_job(owner, job_id, state="completed")
        owner.execute(
            text(
                "update jobs set finished_at = now() - make_interval(days => :age) where id = :id"
            ),
            {"age": age, "id": job_id},
        )
    assert purge(resources) == 1
    days = text("select extract(day from now() - finished_at)::int from jobs")
    assert list(owner.scalars(days)) == [40]
