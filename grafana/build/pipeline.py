"""The dashboard of the pipeline: from a stored message to its vector, and all other tasks."""

from typing import Any

from grafana.build.panels import RED, YELLOW, Query, Section, board, figure, lines
from grafana.build.queries import percentile, rate, series, shared

STATES = {"0": ("closed", "green"), "1": ("trying", YELLOW), "2": ("open", RED)}


def pipeline() -> Any:
    """Queues, tasks, embedding, beat and worker."""
    return board(
        "pipeline",
        "pipeline",
        "How messages come by their vectors, what else the workers do, and what beat sends.",
        Section("At a glance", GLANCE),
        Section("What waits", WAITING),
        Section("Tasks", TASKS),
        Section("Embedding", EMBEDDING),
        Section("Beat, workers, disks", PROCESSES),
    )


TICKED = f"time() - max({series('beat_last_tick_timestamp_seconds')})"
# Figures for who has a second.
GLANCE = [
    figure(
        "Pending",
        "Messages that wait for their vectors.",
        "short",
        Query(shared("memory_store_pending_messages"), ""),
    ),
    figure(
        "Oldest",
        "How long the one that has waited longest waits; over five minutes PendingLag fires.",
        "s",
        Query(shared("memory_store_oldest_pending_seconds"), ""),
        (60, YELLOW),
        (300, RED),
    ),
    figure(
        "Failed",
        "Messages that could not be embedded, and are not tried again.",
        "short",
        Query(shared("memory_store_failed_messages"), ""),
        (1, YELLOW),
    ),
    figure(
        "Workers",
        "Workers that answer Prometheus.",
        "short",
        Query('sum(up{job="memory-worker"})', ""),
    ),
    figure(
        "Beat: leaders",
        "Beats at work: one, others stand by.",
        "short",
        Query(f"sum({series('beat_leader')})", ""),
    ),
    figure(
        "Beat: last tick",
        "How long ago beat looked at its schedule; over a minute BeatNotBeating fires.",
        "s",
        Query(TICKED, ""),
        (30, YELLOW),
        (60, RED),
    ),
]

# Queues and pending messages.
WAITING = [
    lines(
        "Queue depth",
        "Tasks in the broker; under load many find that others have embedded their messages.",
        "short",
        Query(shared("queue_tasks", "queue"), "{{queue}}"),
        stacked=True,
    ),
    lines(
        "Pending messages",
        "Messages that wait for their vectors, and those given up.",
        "short",
        Query(shared("memory_store_pending_messages"), "pending"),
        Query(shared("memory_store_failed_messages"), "failed"),
    ),
    lines(
        "Oldest pending",
        "How long the message that has waited longest waits.",
        "s",
        Query(shared("memory_store_oldest_pending_seconds"), "waits"),
        limit=300,
    ),
    lines(
        "Lag",
        "From storing a message to its vector.",
        "s",
        *(
            Query(percentile(share, "message_embedding_lag_seconds"), f"p{share * 100:.0f}")
            for share in (0.5, 0.95)
        ),
    ),
    lines(
        "Dropped publishes",
        "Messages a second whose task could not be sent, and which wait for the sweep.",
        "cps",
        Query(rate("publish_dropped_total"), "messages"),
    ),
    lines(
        "Stored and embedded",
        "Messages a second that come in, and that get their vectors.",
        "cps",
        Query(rate("messages_created_total"), "stored"),
        Query(rate("messages_embedded_total"), "embedded"),
    ),
]

# What the workers do.
TASKS = [
    lines(
        "Tasks by name",
        "Tasks that ended a second.",
        "cps",
        Query(rate("celery_tasks_total", "task"), "{{task}}"),
    ),
    lines(
        "Tasks by outcome",
        "Tasks that ended a second.",
        "cps",
        Query(rate("celery_tasks_total", "outcome"), "{{outcome}}"),
        stacked=True,
    ),
    lines(
        "Tasks that did not succeed",
        "By name and outcome; `lost` are those whose process died.",
        "cps",
        Query(
            rate("celery_tasks_total", "task, outcome", 'outcome!="success"'),
            "{{task}} {{outcome}}",
        ),
    ),
    lines(
        "Task duration, p95",
        "95% of the tasks ran no longer; none may run over a minute.",
        "s",
        Query(percentile(0.95, "celery_task_duration_seconds", "task"), "{{task}}"),
        limit=55,
    ),
    lines(
        "Jobs at work",
        "Long work that waits for a worker, or is worked on.",
        "short",
        Query(shared("memory_store_active_jobs", "state"), "{{state}}"),
        stacked=True,
    ),
    lines(
        "Jobs by outcome",
        "Slices a second that ended a job, or were put off; of which kind is on the memory's.",
        "cps",
        Query(rate("jobs_ended_total", "outcome"), "{{outcome}}"),
    ),
]

SPENT = "embedding_generation_duration_seconds"
# The model and the provider.
EMBEDDING = [
    lines(
        "Embedded",
        "Messages a second whose vectors were stored.",
        "cps",
        Query(rate("messages_embedded_total"), "messages"),
    ),
    lines(
        "Embedding duration",
        "A batch of messages in a worker, a query in the API.",
        "s",
        *(
            Query(percentile(share, SPENT, "job"), "{{job}} p" + f"{share * 100:.0f}")
            for share in (0.5, 0.95)
        ),
    ),
    lines(
        "Failures",
        "Messages a second that were put off for another try, or given up.",
        "cps",
        Query(rate("messages_embedding_failed_total", "outcome"), "{{outcome}}"),
    ),
    lines(
        "Breakers",
        "Before remote providers: 0 closed, 1 trying again, 2 open.",
        "short",
        Query(
            f"max by (provider, job) ({series('embedding_breaker_state')})",
            "{{provider}}, {{job}}",
        ),
        most=2,
    ),
    figure(
        "Breaker",
        "The worst of all processes; none where the model is a local one.",
        "short",
        Query(f"max({series('embedding_breaker_state')})", ""),
        words=STATES,
    ),
    figure(
        "Models",
        "What the processes embed with.",
        "short",
        Query(series("memory_model_info"), "{{job}}: {{provider}} {{model}}, {{dimensions}}"),
        names=True,
    ),
]

# Beat, the workers' memory, the disks.
PROCESSES = [
    lines(
        "Beat: tasks sent",
        "Tasks a second that beat has sent.",
        "cps",
        Query(rate("beat_tasks_sent_total", "task"), "{{task}}"),
    ),
    lines(
        "Worker memory",
        "Resident memory of a pool's processes, without their parent.",
        "bytes",
        Query(series("worker_pool_memory_bytes"), "{{instance}}"),
    ),
    lines(
        "Disk free",
        "Of the file systems of data and archive; below 10% DiskLow fires.",
        "percentunit",
        Query("min by (folder) (disk_free_bytes / disk_size_bytes)", "{{folder}}"),
        most=1,
    ),
]
