"""Figures of the whole store, taken once for all who ask."""

from celery import shared_task

from db.queries.gauges import MEASURE_STORE, measure_parameters
from tasks.base import Task
from tasks.resources import Resources


@shared_task(name="measure_store", base=Task, bind=True)
def measure_store(task: Task) -> str:
    """Measure the store for `/metrics`."""
    found = measure(task.resources)
    pending, failed = found["pending_messages"], found["failed_messages"]
    return f"{found['messages']:,.0f} messages, {pending:,.0f} pending, {failed:,.0f} failed"


def measure(resources: Resources) -> dict[str, float]:
    """Put the store's figures where `/metrics` finds them; those that have no label."""
    with resources.engine.begin() as connection:
        settings = resources.settings
        asked = measure_parameters(settings.metrics_tenants, bool(settings.backup_dir))
        rows = connection.execute(MEASURE_STORE, asked).all()
    return {row.name: row.value for row in rows if not row.label}
