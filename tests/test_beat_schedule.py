"""The table of periodic tasks."""

from datetime import timedelta

from beat_schedule import beat_schedule
from memory.settings import Settings
from tasks import embedding, housekeeping, indexing


def test_each_entry_names_a_task_that_exists() -> None:
    periodic = (
        embedding.sweep_pending,
        indexing.reindex_terms,
        housekeeping.purge_idempotency_keys,
    )
    named = {entry["task"] for entry in beat_schedule(Settings()).values()}
    assert named == {task.name for task in periodic}


def test_the_sweep_runs_as_often_as_the_settings_say() -> None:
    entry = beat_schedule(Settings(sweep_interval_seconds=7))["sweep-pending"]
    assert entry["schedule"] == timedelta(seconds=7)


def test_no_entry_outlives_its_turn() -> None:
    for entry in beat_schedule(Settings()).values():
        assert entry["options"]["expires"] <= entry["schedule"].total_seconds()
