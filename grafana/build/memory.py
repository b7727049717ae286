"""The dashboard of the memory: what is stored, how much it matters, what retention takes."""

from typing import Any

from grafana.build.panels import RED, YELLOW, Query, Section, bars, board, figure, lines
from grafana.build.queries import INTERVAL, percentile, rate, shared

IMPORTANCE = shared("memory_store_importance_bucket", "le")
ENDED = 'outcome=~"completed|failed"'
TENANTS = " Empty without MEMORY_METRICS_TENANTS."


def memory() -> Any:
    """The store, importance, retention and tenants."""
    return board(
        "memory",
        "memory",
        "What is stored, how it grows and matters, what retention takes. Measured once a minute.",
        Section("At a glance", GLANCE),
        Section("Growth", GROWTH),
        Section("Importance", WEIGHT),
        Section("Retention and other jobs", RETENTION),
        Section("Backups", BACKUPS),
        Section("Tenants", OWNERS),
    )


MEASURED = f"time() - {shared('memory_store_measured_timestamp_seconds')}"
# Figures for who has a second.
GLANCE = [
    figure(
        "Messages",
        "Archived ones included; estimated, may be 10% off.",
        "short",
        Query(shared("memory_store_messages"), ""),
    ),
    figure(
        "Archived",
        "Messages in the archive.",
        "short",
        Query(shared("memory_store_archived_messages"), ""),
    ),
    figure("Tenants", "Tenants of the store.", "short", Query(shared("memory_store_tenants"), "")),
    figure(
        "Database size",
        "The size of the database.",
        "bytes",
        Query(shared("memory_store_bytes"), ""),
    ),
    figure(
        "Importance, median",
        "Half of the messages matter more.",
        "percentunit",
        Query(f"histogram_quantile(0.5, {IMPORTANCE})", ""),
    ),
    figure(
        "Measured",
        "How long ago; over three minutes StoreNotMeasured fires.",
        "s",
        Query(MEASURED, ""),
        (120, YELLOW),
        (180, RED),
    ),
]

# How the store grows.
GROWTH = [
    lines(
        "Messages stored",
        "In the store, by how they are.",
        "short",
        Query(shared("memory_store_messages"), "all"),
        Query(shared("memory_store_archived_messages"), "archived"),
        Query(shared("memory_store_pending_messages"), "pending"),
        Query(shared("memory_store_failed_messages"), "failed"),
    ),
    lines(
        "Growth",
        "Messages a second by which the store grows, over the last hour, less what is deleted.",
        "cps",
        Query("deriv(max(memory_store_messages)[1h:1m])", "messages"),
    ),
    lines(
        "Coming in",
        "Messages stored a second.",
        "cps",
        Query(rate("messages_created_total"), "messages"),
    ),
    lines(
        "Size",
        "Of the database, with its indexes.",
        "bytes",
        Query(shared("memory_store_bytes"), "database"),
    ),
    lines(
        "Size of a message",
        "The database by its messages, with indexes and vectors.",
        "bytes",
        Query(
            f"{shared('memory_store_bytes')} / ({shared('memory_store_messages')} > 0)",
            "a message",
        ),
    ),
    lines(
        "Pending and failed",
        "Messages that wait for their vectors, or were given up.",
        "short",
        Query(shared("memory_store_pending_messages"), "pending"),
        Query(shared("memory_store_failed_messages"), "failed"),
    ),
]

# How much the messages matter.
WEIGHT = [
    bars(
        "Importance",
        "Messages by importance, now; from a sample of some 10,000.",
        "short",
        Query(IMPORTANCE, "{{le}}"),
    ),
    lines(
        "Importance, quartiles",
        "A quarter, a half and three quarters of the messages matter no more.",
        "percentunit",
        *(
            Query(f"histogram_quantile({share:g}, {IMPORTANCE})", f"{share:.0%}")
            for share in (0.25, 0.5, 0.75)
        ),
        most=1,
    ),
    lines(
        "Rescoring, p95",
        "How long a slice of rescoring takes.",
        "s",
        Query(
            percentile(0.95, "celery_task_duration_seconds", where='task="rescore_importance"'),
            "slice",
        ),
    ),
]

TAKEN = f"sum by (action) (rate(retention_messages_total{INTERVAL})) * 3600"
COMPLETED = f"time() - {shared('memory_store_job_completed_timestamp_seconds', 'kind')}"
# What was put away, and how the jobs ended.
RETENTION = [
    lines(
        "Retention",
        "Messages archived and deleted, as many an hour.",
        "short",
        Query(TAKEN, "{{action}}"),
    ),
    lines(
        "Jobs at work",
        "Long work that waits for a worker, or is worked on.",
        "short",
        Query(shared("memory_store_active_jobs", "state"), "{{state}}"),
        stacked=True,
    ),
    lines(
        "Jobs ended",
        "As many an hour, completed or failed.",
        "short",
        Query(f"{rate('jobs_ended_total', 'kind', ENDED)} * 3600", "{{kind}}"),
    ),
    lines(
        "Last job failed",
        "1 while the last job of a kind for all tenants that ended has failed.",
        "short",
        Query(shared("memory_store_job_failed", "kind"), "{{kind}}"),
        most=1,
    ),
    lines(
        "Last job completed",
        "How long ago, of jobs for all tenants; retention runs once a day, rescoring once an hour.",
        "s",
        Query(COMPLETED, "{{kind}}"),
    ),
]

# How much would be lost, and what a backup takes.
BACKUPS = [
    lines(
        "Age of the backup",
        "How old the newest backup is; over two days BackupTooOld fires.",
        "s",
        Query(f"time() - {shared('memory_store_backup_timestamp_seconds')}", "newest"),
    ),
    lines(
        "Size of a backup",
        "Of the newest one, compressed.",
        "bytes",
        Query(shared("memory_store_backup_bytes"), "newest"),
    ),
    lines(
        "Time of a backup",
        "How long the newest one took, without the try of it.",
        "s",
        Query(shared("memory_store_backup_duration_seconds"), "newest"),
    ),
]

# Who stores and asks most.
OWNERS = [
    lines(
        "Tenants over time",
        "Tenants of the store.",
        "short",
        Query(shared("memory_store_tenants"), "tenants"),
    ),
    lines(
        "Largest tenants",
        f"Messages of the ten largest.{TENANTS}",
        "short",
        Query(f"topk(10, {shared('memory_store_tenant_messages', 'tenant')})", "{{tenant}}"),
    ),
    lines(
        "Busiest tenants, storing",
        f"Messages a second of the ten busiest.{TENANTS}",
        "cps",
        Query(f"topk(10, {rate('tenant_messages_created_total', 'tenant')})", "{{tenant}}"),
    ),
    lines(
        "Busiest tenants, searching",
        f"Searches a second of the ten busiest.{TENANTS}",
        "reqps",
        Query(f"topk(10, {rate('tenant_searches_total', 'tenant')})", "{{tenant}}"),
    ),
]
