"""How Celery is set up: a pure function from the service's settings to Celery's."""

from typing import Any

from beat_schedule import beat_schedule
from memory.queues import EMBEDDINGS, MAINTENANCE
from memory.settings import Settings
from tasks.brokers import broker_configuration, queues, schedule_configuration

# No task runs longer than this: long work is cut into slices that send themselves again.
TASK_SECONDS = 60
# A process of the pool loads the model, and may wait for a provider, before it takes tasks. One
# that takes longer is killed, and the next for the same reason, and so on for ever.
PROCESS_START_SECONDS = 90
# A beat that was killed leaves its lock for so long, and the next looks for it once a loop: so it
# takes over within the sum.
BEAT_LOCK_SECONDS = 20
BEAT_LOOP_SECONDS = 5

TASK_MODULES = (
    "tasks.counting",
    "tasks.stopping",
    "tasks.embedding",
    "tasks.sweeping",
    "tasks.indexing",
    "tasks.housekeeping",
    "tasks.stalled",
    "tasks.retention",
    "tasks.rescoring",
    "tasks.retrying",
    "tasks.measuring",
    "tasks.statistics",
    "tasks.moving",
    "tasks.dropping",
    "tasks.transfers",
    "tasks.backups",
)


def celery_configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings for the broker at `settings.broker_url`, or else `settings.redis_url`."""
    url = settings.broker_url or settings.redis_url
    return {
        **broker_configuration(url),
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": TASK_SECONDS - 5,
        "task_time_limit": TASK_SECONDS,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.worker_concurrency,
        "worker_proc_alive_timeout": PROCESS_START_SECONDS,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Named, so that Flower counts what waits in both, also before a worker serves them.
        "task_queues": queues(url),
        "task_default_queue": MAINTENANCE,
        "task_routes": {
            "embed_messages": {"queue": EMBEDDINGS},
            # It embeds too, and waits its turn behind what was posted meanwhile.
            "migrate_embeddings": {"queue": EMBEDDINGS},
        },
        "imports": TASK_MODULES,
        "timezone": "UTC",
        **beat_configuration(settings),
    }


def beat_configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings of beat, which keeps its schedule at `settings.redis_url`."""
    return {
        "beat_schedule": beat_schedule(settings),
        "beat_scheduler": "tasks.beat.Scheduler",
        "beat_max_loop_interval": BEAT_LOOP_SECONDS,
        # Or Celery adds an entry to the schedule that looks after results, which are not kept.
        "result_expires": None,
        **schedule_configuration(settings.redis_url),
        "redbeat_lock_timeout": BEAT_LOCK_SECONDS,
        "redbeat_key_prefix": "memory:redbeat",
    }
