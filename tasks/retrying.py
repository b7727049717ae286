"""Another try for messages that could not be embedded: what was at fault may be put right."""

from uuid import UUID

from celery import shared_task

from db.queries.retrying import COUNT_FAILED, RETRY_SLICE, RETRY_SLICE_OF_TENANT
from tasks.base import Task
from tasks.jobs import Held, NewJob, Values, run_job
from tasks.resources import Resources

SLICE_MESSAGES = 1_000
FIRST = str(UUID(int=0))


@shared_task(name="retry_failed_embeddings", base=Task, bind=True)
def retry_failed_embeddings(task: Task, tenant_id: str, job_id: str) -> str:
    """Make failed messages of a tenant, or of all, pending again; the sweep sends them."""
    return run_job(task, "embeddings_retry", retry_step, tenant_id, job_id)


def new_retry(tenant_id: str, started_by: str) -> NewJob:
    """The job; while one for the tenant is at work there is no second."""
    return NewJob("embeddings_retry", tenant_id, {}, started_by, "embeddings_retry")


def retry_step(resources: Resources, held: Held) -> Values | None:
    """Do the next slice; the result when none of the messages has failed."""
    position = {"after_tenant": "", "after": FIRST} | held.position
    scope = {"tenant_id": held.tenant_id, "all": held.about_all, "most": SLICE_MESSAGES}
    statement = RETRY_SLICE if held.about_all else RETRY_SLICE_OF_TENANT
    with resources.engine.begin() as connection:
        total = held.total if held.position else connection.scalar(COUNT_FAILED, scope)
        retried = connection.execute(statement, scope | position).all()
        if retried:
            last = max((row.tenant_id, row.id) for row in retried)
            position = {"after_tenant": last[0], "after": str(last[1])}
            held.advance(connection, position, len(retried), total)
    return None if retried else {"retried": held.done}
