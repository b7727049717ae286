"""The table of periodic tasks."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery
from celery.schedules import crontab

from beat_schedule import beat_schedule
from memory.settings import Settings
from tasks.configuration import BEAT_LOCK_SECONDS, BEAT_LOOP_SECONDS, celery_configuration

TAKES_OVER_WITHIN = 30
PAGE = Path(__file__).parents[1] / "docs" / "running.md"
USUAL = beat_schedule(Settings())


@pytest.fixture
def workers_app() -> Celery:
    """An application that knows the tasks which a worker knows."""
    app = Celery("memory-test", set_as_current=False)
    app.conf.update(celery_configuration(Settings(redis_url="redis://127.0.0.1:1")))
    app.loader.import_default_modules()
    app.finalize()
    return app


def test_each_entry_names_a_task_that_workers_know(workers_app: Celery) -> None:
    known = set(workers_app.tasks)
    every = beat_schedule(Settings(backup_dir="/backups"))
    assert {entry["task"] for entry in every.values()} <= known


def test_beat_sends_what_is_in_the_table_and_nothing_else(workers_app: Celery) -> None:
    assert workers_app.conf.beat_schedule == USUAL
    # Or Celery adds an entry of its own, for results, which are not kept.
    assert workers_app.conf.result_expires is None


@pytest.mark.parametrize(
    ("name", "changed", "seconds"),
    [
        ("sweep-pending", Settings(sweep_interval_seconds=7), 7),
        ("reindex-terms", Settings(sweep_interval_seconds=7), 7),
        ("rescore-importance", Settings(rescore_interval_seconds=600), 600),
        ("expire-messages", Settings(retention_schedule_seconds=86_399), 86_399),
    ],
)
def test_an_interval_is_what_the_settings_say(name: str, changed: Settings, seconds: int) -> None:
    entry = beat_schedule(changed)[name]
    assert entry["schedule"] == timedelta(seconds=seconds)
    unchanged = beat_schedule(changed).keys() - {name}
    assert unchanged == USUAL.keys() - {name}


def test_retention_once_a_day_is_at_three_at_night() -> None:
    assert USUAL["expire-messages"]["schedule"] == crontab(hour="3", minute="0")
    assert celery_configuration(Settings())["timezone"] == "UTC"


def test_backups_are_made_where_there_is_a_folder_for_them() -> None:
    assert "back-up-store" not in USUAL
    made = beat_schedule(Settings(backup_dir="/backups"))
    assert made.keys() - USUAL.keys() == {"back-up-store"}
    assert made["back-up-store"]["task"] == "back_up_store"
    assert made["back-up-store"]["schedule"] == crontab(hour="2", minute="0")
    hourly = beat_schedule(Settings(backup_dir="/backups", backup_schedule_seconds=3_600))
    assert hourly["back-up-store"]["schedule"] == timedelta(hours=1)


@pytest.mark.parametrize("name", USUAL)
def test_nothing_is_judged_by_two_clocks(name: str) -> None:
    """What expires does so by the worker's clock at a time that beat's has named."""
    assert "expires" not in USUAL[name]["options"]


def test_an_entry_says_for_whom_it_runs() -> None:
    shown = {name: entry["options"]["argsrepr"] for name, entry in USUAL.items()}
    assert set(shown.values()) == {"all tenants"}
    named = beat_schedule(Settings(retention_tenants="acme,globex"))
    assert named["expire-messages"]["options"]["argsrepr"] == "acme,globex"
    assert all(entry["options"]["kwargsrepr"] == "" for entry in named.values())


def test_another_beat_takes_over_in_time() -> None:
    """The lock of a killed one lasts so long; another looks for it once a loop."""
    configuration = celery_configuration(Settings())
    assert configuration["redbeat_lock_timeout"] == BEAT_LOCK_SECONDS
    assert configuration["beat_max_loop_interval"] == BEAT_LOOP_SECONDS
    assert BEAT_LOCK_SECONDS + BEAT_LOOP_SECONDS < TAKES_OVER_WITHIN
    # A lock that is not renewed once, or twice, is not lost yet.
    assert BEAT_LOCK_SECONDS > 3 * BEAT_LOOP_SECONDS


def test_what_runs_when_is_documented() -> None:
    written = re.findall(r"^\| `(\w+)` \| (?:every|hourly|nightly)", PAGE.read_text(), re.MULTILINE)
    every = beat_schedule(Settings(backup_dir="/backups"))
    assert sorted(written) == sorted(entry["task"] for entry in every.values())
