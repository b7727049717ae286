"""What runs when: the one table of periodic tasks."""

from datetime import timedelta
from typing import Any

from celery.schedules import crontab

from memory.settings import Settings

DAY = 86_400
ALL_TENANTS = "all tenants"


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """The entries of Celery's beat. Each task may be sent twice, or late, and does no harm then.

    None expires: that would be judged by the clocks of two machines, which may be apart.
    """
    sweep = settings.sweep_interval_seconds
    return {
        # What was posted and never embedded, lost by the broker or by a worker that died.
        "sweep-pending": every(sweep, "sweep_pending"),
        # Words that are to be indexed anew, after a change of language, say.
        "reindex-terms": every(sweep, "reindex_terms"),
        # Jobs that nobody works on.
        "restart-stalled-jobs": every(30, "restart_stalled_jobs"),
        # Figures of the whole store, for `/metrics`.
        "measure-store": every(60, "measure_store"),
        # How rare words are, where much was deleted and little posted.
        "refresh-statistics": every(900, "refresh_all_statistics"),
        # Importance sinks with age and rises with use.
        "rescore-importance": every(settings.rescore_interval_seconds, "rescore_importance"),
        # Retention: what is old and matters little is archived, and in the end deleted.
        "expire-messages": retention(settings),
        "purge-idempotency-keys": every(600, "purge_idempotency_keys"),
        "purge-jobs": every(3_600, "purge_jobs"),
        **({"back-up-store": backup(settings)} if settings.backup_dir else {}),
    }


def every(seconds: float, task: str) -> dict[str, Any]:
    """An entry that is due every so often."""
    return entry(timedelta(seconds=seconds), task)


def retention(settings: Settings) -> dict[str, Any]:
    """The entry of retention: once a day means at 03:00 UTC."""
    named = settings.retention_tenants
    whose = ALL_TENANTS if "*" in named else named
    return nightly(settings.retention_schedule_seconds, "3", "expire_messages", whose)


def backup(settings: Settings) -> dict[str, Any]:
    """The entry of backups: once a day means at 02:00 UTC, before retention takes anything."""
    return nightly(settings.backup_schedule_seconds, "2", "back_up_store")


def nightly(seconds: float, hour: str, task: str, whose: str = ALL_TENANTS) -> dict[str, Any]:
    """An entry that is due every so often; once a day means at a time of the night."""
    schedule = crontab(hour=hour, minute="0") if seconds == DAY else timedelta(seconds=seconds)
    return entry(schedule, task, whose=whose)


def entry(schedule: timedelta | crontab, task: str, *, whose: str = ALL_TENANTS) -> dict[str, Any]:
    """An entry of beat's; `whose` is what Flower shows for arguments: for whom it runs."""
    shown = {"argsrepr": whose, "kwargsrepr": ""}
    return {"task": task, "schedule": schedule, "options": shown}
