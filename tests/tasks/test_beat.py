"""Beat: one at a time is at work, another takes its place, and Redis has the table as it is now."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker
from redbeat import RedBeatSchedulerEntry
from sqlalchemy import Connection, text

from beat_schedule import beat_schedule
from memory.queues import MAINTENANCE
from memory.settings import Settings
from tasks.beat import Scheduler
from tasks.configuration import celery_configuration
from tasks.resources import Resources
from tests.db.rows import add_message
from tests.metrics_pages import own_page, series
from tests.processes import ProcessContainer, wait_until
from tests.workers import celery_process

PREFIX = "memory:redbeat"
LOCK, TABLE, STATICS = f"{PREFIX}:lock", f"{PREFIX}:schedule", f"{PREFIX}:statics"
LOCK_SECONDS, LOOP_SECONDS = 5, 1
PENDING = text("select count(*) from messages where embedding_status = 'pending'")
JOB_ERRORS = text("select error from jobs where state <> 'completed' or error is not null")
QUICK = f"""
import os
from tasks.celery import app
app.conf.redbeat_lock_timeout = float(os.environ["LOCK"])
app.conf.beat_max_loop_interval = {LOOP_SECONDS}
"""

Start = Callable[..., ProcessContainer]


@pytest.fixture
def broker(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def start(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a beat, and waits until it has the lock or waits for it."""
    (tmp_path / "quick_beat.py").write_text(QUICK)
    talkative = msgspec.structs.replace(settings, log_level="DEBUG")
    begun: list[ProcessContainer] = []

    def begin(name: str, lock_seconds: float = LOCK_SECONDS) -> ProcessContainer:
        monkeypatch.setenv("LOCK", str(lock_seconds))
        beat = celery_process(talkative, tmp_path, name, "beat", app="quick_beat")
        begun.append(beat)
        wait_until(lambda: "Acquiring lock" in beat.logs(), f"{name} has started")
        return beat

    yield begin
    for beat in begun:
        beat.teardown()


def has_lock(beat: ProcessContainer) -> bool:
    return "Acquired lock" in beat.logs()


def sends(broker: redis.Redis) -> Callable[[], bool]:
    """Whether something was sent since this was called."""
    before = broker.llen(MAINTENANCE)
    return lambda: broker.llen(MAINTENANCE) > before


def test_another_takes_over_from_one_that_was_killed(start: Start, broker: redis.Redis) -> None:
    first = start("first")
    wait_until(sends(broker), "the first sends")
    second = start("second")
    until = broker.pexpiretime(LOCK)
    wait_until(lambda: broker.pexpiretime(LOCK) > until, "the first renews its lock")
    assert not has_lock(second)
    first.kill()
    sent = sends(broker)
    # A lock that had no end of its own would be the first one's for ever.
    wait_until(lambda: has_lock(second), "the second has the lock")
    wait_until(sent, "the second sends")


def test_one_that_ends_in_order_leaves_no_lock(start: Start, broker: redis.Redis) -> None:
    # Long before a lock that was left would end.
    first, second = start("first", 600), start("second", 600)
    wait_until(lambda: has_lock(first), "the first has the lock")
    first.kill("SIGTERM")
    wait_until(lambda: has_lock(second), "the second has the lock")
    second.kill("SIGTERM")
    assert not broker.exists(LOCK)


def test_a_beat_ends_when_redis_was_emptied_and_works_when_started_again(
    start: Start, broker: redis.Redis
) -> None:
    first = start("first")
    wait_until(sends(broker), "the first sends")
    broker.flushall()
    wait_until(lambda: first.status == "exited", "the first has seen that its lock is gone")
    assert first.process.returncode == 1
    start("again")
    wait_until(sends(broker), "it sends")


def test_one_that_waited_while_redis_was_emptied_has_the_table(
    start: Start, broker: redis.Redis, settings: Settings
) -> None:
    first, second = start("first"), start("second")
    first.kill()
    broker.flushall()
    wait_until(lambda: has_lock(second), "the second has the lock")
    wait_until(sends(broker), "the second sends")
    assert broker.zcard(TABLE) == len(celery_configuration(settings)["beat_schedule"])


def test_each_task_may_be_sent_twice(
    settings: Settings, worker: CeleryTestWorker, owner: Connection
) -> None:
    add_message(owner, age=100)
    add_message(owner, status="failed")
    table = beat_schedule(Settings()).values()
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        for entry in [*table, *table]:
            app.send_task(entry["task"], **entry["options"])

    def times(task: str, ended: str) -> int:
        return len(re.findall(rf"Task {task}\[\S+\] {ended}", worker.logs()))

    for entry in table:
        task = entry["task"]
        wait_until(lambda task=task: times(task, "succeeded") >= 2, f"{task} has run twice")
        assert times(task, "raised") == 0
    wait_until(lambda: owner.scalar(PENDING) == 0, "what was pending is embedded")
    assert owner.scalars(JOB_ERRORS).all() == []


def written(settings: Settings, **more: Any) -> Celery:
    """An application whose table, with `more` entries, has been put into Redis."""
    app = Celery("memory-test", set_as_current=False)
    app.conf.update(celery_configuration(settings))
    app.conf.beat_schedule |= more
    app.resources = Resources(settings)
    Scheduler(app)
    return app


def entry(app: Celery, name: str) -> Any:
    return RedBeatSchedulerEntry.from_key(PREFIX + name, app)


def ran(app: Celery, name: str, ago: timedelta) -> None:
    entry(app, name).reschedule(datetime.now(UTC) - ago)


def due_in(app: Celery, broker: redis.Redis, name: str) -> float:
    """Seconds until an entry is sent; 0 when it is due. Beat looks at it by then."""
    due, seconds = entry(app, name).is_due()
    looked_at = broker.zscore(TABLE, PREFIX + name)
    assert looked_at <= time.time() + (0 if due else seconds) + 2
    return 0 if due else seconds


def test_what_is_no_longer_in_the_table_leaves_redis(
    settings: Settings, broker: redis.Redis
) -> None:
    written(settings, **{"former-name": {"task": "sweep_pending", "schedule": timedelta(hours=1)}})
    assert broker.exists(f"{PREFIX}former-name")
    names = celery_configuration(settings)["beat_schedule"].keys()
    written(settings)
    assert set(broker.keys(f"{PREFIX}*")) == {PREFIX + name for name in names} | {TABLE, STATICS}
    assert set(broker.zrange(TABLE, 0, -1)) == {PREFIX + name for name in names}
    assert broker.smembers(STATICS) == names


@pytest.mark.parametrize(("before", "after", "due"), [(3_600, 600, 0), (600, 3_600, 1_800)])
def test_a_changed_interval_counts_from_the_last_run(
    settings: Settings, broker: redis.Redis, before: int, after: int, due: int
) -> None:
    app = written(msgspec.structs.replace(settings, rescore_interval_seconds=before))
    ran(app, "rescore-importance", timedelta(minutes=30))
    app = written(msgspec.structs.replace(settings, rescore_interval_seconds=after))
    assert due_in(app, broker, "rescore-importance") == pytest.approx(due, abs=60)
    assert entry(app, "rescore-importance").schedule.run_every == timedelta(seconds=after)


def test_retention_goes_from_nightly_to_an_interval_and_back(
    settings: Settings, broker: redis.Redis
) -> None:
    hourly = msgspec.structs.replace(settings, retention_schedule_seconds=3_600)
    at_three = datetime.now(UTC).replace(hour=3, minute=0, second=0, microsecond=0)
    at_three += timedelta(days=0 if at_three > datetime.now(UTC) else 1)
    to_three = (at_three - datetime.now(UTC)).total_seconds()

    app = written(settings)
    # A new schedule does not begin with a run in the middle of the day.
    assert due_in(app, broker, "expire-messages") == pytest.approx(to_three, abs=60)
    app = written(hourly)
    assert due_in(app, broker, "expire-messages") == pytest.approx(3_600, abs=60)
    ran(app, "expire-messages", timedelta(minutes=90))
    assert due_in(app, broker, "expire-messages") == 0
    ran(app, "expire-messages", timedelta(seconds=0))
    app = written(settings)
    assert due_in(app, broker, "expire-messages") == pytest.approx(to_three, abs=60)
    # Of a night that was missed the run is made up for.
    ran(app, "expire-messages", timedelta(days=2))
    assert due_in(written(settings), broker, "expire-messages") == 0


def test_a_restart_makes_nothing_due(settings: Settings, broker: redis.Redis) -> None:
    app = written(settings)
    ran(app, "purge-jobs", timedelta(minutes=10))
    app = written(settings)
    assert due_in(app, broker, "purge-jobs") == pytest.approx(3_000, abs=60)


def test_what_ran_in_the_future_is_not_waited_for(settings: Settings, broker: redis.Redis) -> None:
    """As when a beat's clock was two hours ahead, and is put right, or another takes over."""
    app = written(settings)
    ran(app, "sweep-pending", -timedelta(hours=2))
    ran(app, "purge-jobs", -timedelta(hours=2))
    ran(app, "refresh-statistics", timedelta(minutes=10))
    Scheduler(app)._bring_back()
    assert due_in(app, broker, "sweep-pending") <= 1
    assert due_in(app, broker, "purge-jobs") == pytest.approx(3_600, abs=60)
    assert due_in(app, broker, "refresh-statistics") == pytest.approx(300, abs=60)


def test_a_task_is_done_whatever_the_clock_of_who_sent_it_says(
    settings: Settings, worker: CeleryTestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = written(settings)
    behind = datetime.now(UTC) - timedelta(hours=2)
    monkeypatch.setattr(Celery, "now", lambda _: behind)
    ran(app, "sweep-pending", timedelta(hours=3))
    scheduler = Scheduler(app)
    scheduler.apply_async(entry(app, "sweep-pending"), advance=False)
    worker.wait_for_log("Task sweep_pending")
    wait_until(lambda: "succeeded" in worker.logs(), "it is done")


def test_a_queue_that_nobody_serves_does_not_fill(settings: Settings, broker: redis.Redis) -> None:
    app = written(settings)
    scheduler = Scheduler(app)

    def waiting(name: str, times: int) -> int:
        for _ in range(times):
            scheduler.apply_async(entry(app, name), advance=True)
        return broker.llen(MAINTENANCE)

    assert waiting("sweep-pending", 120) == 100
    ran(app, "sweep-pending", timedelta(hours=1))
    assert waiting("sweep-pending", 1) == 100
    assert due_in(app, broker, "sweep-pending") > 0
    # What comes once a night has its turn all the same.
    assert waiting("expire-messages", 1) == 101


def test_a_beat_shows_that_it_beats(beat: ProcessContainer) -> None:
    def found() -> dict[str, float]:
        return series(own_page(beat))

    swept = 'beat_tasks_sent_total{task="sweep_pending"}'
    wait_until(lambda: found()[swept] > 0, "it has sent a task")
    assert found()["beat_leader"] == 1
    before = found()["beat_last_tick_timestamp_seconds"]
    assert time.time() - before < 60
    wait_until(lambda: found()["beat_last_tick_timestamp_seconds"] > before, "it ticks again")
