"""How Celery is set up: a pure function from the service's settings to Celery's."""

from typing import Any

from kombu import Exchange, Queue
from kombu.utils.url import parse_url

from beat_schedule import beat_schedule
from memory.queues import EMBEDDINGS, MAINTENANCE, QUEUES
from memory.settings import Settings

# No task runs longer than this: long work is cut into slices that send themselves again.
TASK_SECONDS = 60
VISIBILITY_SECONDS = 120
SOCKET_SECONDS = 5
# A beat that was killed leaves its lock for so long, and the next looks for it once a loop: so it
# takes over within the sum.
BEAT_LOCK_SECONDS = 20
BEAT_LOOP_SECONDS = 5

TASK_MODULES = (
    "tasks.counting",
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
)


def celery_configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings for the broker at `settings.redis_url`."""
    return {
        **broker_configuration(settings.redis_url),
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": TASK_SECONDS - 5,
        "task_time_limit": TASK_SECONDS,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.worker_concurrency,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Named, so that Flower counts what waits in both, also before a worker serves them.
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
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


def broker_configuration(url: str) -> dict[str, Any]:
    """Celery's settings of the broker at `url`."""
    return {
        "broker_url": url,
        # Celery reads it in the URL, Flower does not.
        "broker_use_ssl": url.startswith("rediss://") and parse_url(url).get("ssl", False),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": SOCKET_SECONDS,
        "broker_transport_options": {
            # A killed worker's tasks come back after this long, found within the interval.
            "visibility_timeout": VISIBILITY_SECONDS,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
    }


def beat_configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings of beat, which keeps its schedule at `settings.redis_url`."""
    return {
        "beat_schedule": beat_schedule(settings),
        "beat_scheduler": "tasks.beat.Scheduler",
        "beat_max_loop_interval": BEAT_LOOP_SECONDS,
        # Or Celery adds an entry to the schedule that looks after results, which are not kept.
        "result_expires": None,
        "redbeat_redis_url": settings.redis_url,
        "redbeat_redis_options": {
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
        },
        "redbeat_lock_timeout": BEAT_LOCK_SECONDS,
        "redbeat_key_prefix": "memory:redbeat",
    }
