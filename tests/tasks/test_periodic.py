"""The schedule in a process without beat: nothing that is due is lost, whenever it is up."""

from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab
from sqlalchemy import Connection, text

from beat_schedule import beat_schedule
from memory.settings import Settings
from tasks.kinds import SCHEDULED, STEPS
from tasks.periodic import ALWAYS, NOW_AND_THEN, Schedule, Turn, is_due
from tasks.resources import Resources
from tasks.sending import TASK_OF
from tests.db.rows import add_job

NIGHTLY = crontab(hour="3", minute="0")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 6, 2, tzinfo=UTC)
FOUR = datetime(2026, 6, 2, 4, tzinfo=UTC)
DAY = timedelta(days=1)
BEGUN = text("""
select kind from jobs where started_by = 'schedule' order by id
""")


def begun(owner: Connection, kind: str = "retention") -> int:
    """How many jobs of a kind the schedule has begun."""
    return list(owner.scalars(BEGUN)).count(kind)


@pytest.fixture
def store(resources: Resources, owner: Connection) -> Resources:
    """A store that was made at noon."""
    owner.execute(text("update embedding_models set created_at = :noon"), {"noon": NOON})
    return resources


def end_jobs(owner: Connection, at: datetime) -> None:
    """The jobs were begun at `at`, and have ended."""
    owner.execute(text("update jobs set state = 'completed', created_at = :at"), {"at": at})


def test_what_beat_sends_is_done_here_too() -> None:
    here = {TASK_OF[kind] for kind in SCHEDULED} | ALWAYS.keys() | NOW_AND_THEN.keys()
    every = beat_schedule(Settings(backup_dir="/backups"))
    assert {entry["task"] for entry in every.values()} == here


def test_each_kind_of_job_is_worked_on_here_too() -> None:
    assert STEPS.keys() == TASK_OF.keys()


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (NOON, NOON + timedelta(hours=14, minutes=59), False),
        (NOON, NOON + timedelta(hours=15), True),
        (NOON, NOON + timedelta(days=9), True),
        (NOON.replace(hour=3), NOON, False),
        (NOON.replace(hour=3, second=1), NOON.replace(hour=3, second=2), False),
        (NOON.replace(hour=2, minute=59), NOON, True),
    ],
)
def test_what_is_nightly_is_due_when_a_night_has_come(
    last: datetime, now: datetime, due: bool
) -> None:
    assert is_due(NIGHTLY, last, now) is due


def test_an_interval_is_due_when_it_is_over() -> None:
    assert not is_due(timedelta(hours=1), NOON, NOON + timedelta(minutes=59))
    assert is_due(timedelta(hours=1), NOON, NOON + timedelta(hours=1))


def test_retention_is_begun_once_a_night(store: Resources, owner: Connection) -> None:
    schedule = Schedule(store.settings)
    schedule.keep(store, MIDNIGHT)
    assert begun(owner) == 0
    for _ in range(2):
        schedule.keep(store, FOUR)
        assert begun(owner) == 1
    end_jobs(owner, FOUR)
    schedule.keep(store, FOUR + timedelta(hours=22))
    assert begun(owner) == 1
    schedule.keep(store, FOUR + DAY)
    assert begun(owner) == 2


def test_a_service_that_is_never_up_at_night_runs_it_by_day(
    store: Resources, owner: Connection
) -> None:
    for day in range(3):
        morning = NOON.replace(hour=9) + day * DAY
        Schedule(store.settings).keep(store, morning)
        assert begun(owner) == day
        if day:
            end_jobs(owner, morning)


def test_a_store_without_a_model_has_nothing_to_run(settings: Settings, owner: Connection) -> None:
    resources = Resources(settings)
    Schedule(settings).keep(resources, NOON)
    resources.close()
    assert begun(owner) == 0


def test_what_is_left_behind_is_purged_when_it_is_due(store: Resources, owner: Connection) -> None:
    schedule = Schedule(store.settings)
    old = text("select count(*) from jobs where state = 'failed'")

    def leave() -> None:
        add_job(owner, state="failed", finished_at=datetime.now(UTC) - timedelta(days=31))

    leave()
    schedule.keep(store, NOON)
    assert owner.scalar(old) == 0
    leave()
    schedule.keep(store, NOON + timedelta(minutes=59))
    assert owner.scalar(old) == 1
    schedule.keep(store, NOON + timedelta(minutes=60))
    assert owner.scalar(old) == 0


def test_a_turn_is_over_with_its_time_and_with_the_end() -> None:
    assert Turn(60, ending=lambda: False).left > 50
    assert Turn(0, ending=lambda: False).left == 0
    assert Turn(60, ending=lambda: True).left == 0
