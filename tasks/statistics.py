"""Statistics that grew old although nothing was posted: much was deleted, or a task was lost."""

import time
from typing import NamedTuple

from celery import shared_task

from db.queries.terms import LIVE_AND_COUNTED_OF_MANY
from tasks.base import Task
from tasks.ending import ending
from tasks.indexing import is_old, refresh
from tasks.resources import Resources
from tasks.sending import send_again

TENANTS_AT_ONCE = 500
TASK_ENOUGH_SECONDS = 20


class Round(NamedTuple):
    """What one task did; `goes_on_after` is the tenant that it stopped at, when time was up."""

    tenants: int
    refreshed: int
    goes_on_after: str | None = None


@shared_task(name="refresh_all_statistics", base=Task, bind=True)
def refresh_all_statistics(task: Task, after: str = "") -> str:
    """Count the terms of each tenant anew, of those after `after`, whose statistics are old."""
    done = refresh_old(task.resources, after, TASK_ENOUGH_SECONDS)
    said = f"counted {done.refreshed} of {done.tenants} tenants"
    if done.goes_on_after is None:
        return said
    send_again(task.app, task.name, done.goes_on_after, about=f"tenants after {done.goes_on_after}")
    return f"{said}, goes on"


def refresh_old(resources: Resources, after: str, seconds: float) -> Round:
    """Look at the tenants after `after` in their order, until all are seen or time is up."""
    enough = time.monotonic() + seconds
    looked_at = refreshed = 0
    while tenants := tenants_after(resources, after):
        for tenant_id, old in tenants:
            looked_at += 1
            refreshed += old and refresh(resources, tenant_id)
            if time.monotonic() > enough or ending():
                return Round(looked_at, refreshed, goes_on_after=tenant_id)
        after = tenants[-1][0]
    return Round(looked_at, refreshed)


def tenants_after(resources: Resources, after: str) -> list[tuple[str, bool]]:
    """The next tenants in their order, and whether the statistics of each are old."""
    window = {"after": after, "most": TENANTS_AT_ONCE}
    with resources.engine.begin() as connection:
        rows = connection.execute(LIVE_AND_COUNTED_OF_MANY, window)
        return [(row.tenant_id, is_old(row.live, row.counted)) for row in rows]
