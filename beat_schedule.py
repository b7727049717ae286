"""What runs when: the one table of periodic tasks."""

from datetime import timedelta
from typing import Any

from memory.settings import Settings


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """The entries of Celery's beat. Each task may be sent twice and does no harm then."""
    sweep = settings.sweep_interval_seconds
    return {
        # A sweep that waited longer than its interval is worth nothing: the next one is due.
        "sweep-pending": {
            "task": "sweep_pending",
            "schedule": timedelta(seconds=sweep),
            "options": {"expires": sweep},
        },
        "reindex-terms": {
            "task": "reindex_terms",
            "schedule": timedelta(seconds=sweep),
            "options": {"expires": sweep},
        },
        "purge-idempotency-keys": {
            "task": "purge_idempotency_keys",
            "schedule": timedelta(minutes=10),
            "options": {"expires": 600},
        },
    }
