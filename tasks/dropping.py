"""Dropping what the store holds of an embedding model that it has moved away from."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec
from celery import shared_task
from sqlalchemy.exc import IntegrityError

from db.models import drop_index, forget_model
from db.queries.audit import INSERT_RECORD, record_parameters
from db.queries.models import (
    ALL_MODELS,
    CHANGE_MODELS,
    END_FILLING,
    JOB_KEY,
    models_from_rows,
)
from db.queries.moving import ALL_MESSAGES, DELETE_VECTORS, PASSED
from db.queries.retention import NEXT_TENANT, WINDOW_END
from memory.embedding.recipes import StoredModel, check_unused
from memory.jobs import ALL_TENANTS
from memory.retention_runs import FIRST
from tasks.base import Task
from tasks.expiring import seconds_since
from tasks.jobs import Held, NewJob, Values, run_job
from tasks.resources import Resources

# So many messages lose their vectors in one transaction.
WINDOW_MESSAGES = 2_000


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The model that is dropped: the arguments of the job."""

    model_id: int
    model: str
    dimensions: int


class Place(msgspec.Struct, kw_only=True):
    """How far it is: the position of the job."""

    phase: Literal["begin", "index", "vectors", "forget"] = "begin"
    tenant: str = ""
    after: UUID = FIRST
    vectors: int = 0


@shared_task(name="drop_embeddings", base=Task, bind=True)
def drop_embeddings(task: Task, tenant_id: str, job_id: str) -> str:
    """Work on dropping an embedding model."""
    return run_job(task, "embeddings_drop", drop_step, tenant_id, job_id)


def new_drop(model: StoredModel, started_by: str) -> NewJob:
    """The job that drops `model`; one job at a time changes the models of a store."""
    named = Model(model_id=model.id, model=model.name, dimensions=model.dimensions)
    arguments = msgspec.to_builtins(named)
    return NewJob("embeddings_drop", ALL_TENANTS, arguments, started_by, JOB_KEY)


def drop_step(resources: Resources, held: Held) -> Values | None:
    """Do the next slice; the result when nothing is left of the model.

    The index goes first: then there is nothing that a vector has to be taken out of.
    """
    model = msgspec.convert(held.arguments, Model)
    place = msgspec.convert(held.position, Place)
    check(resources, model)
    match place.phase:
        case "begin":
            begin(resources, held, model, place)
        case "index":
            drop_index(resources.settings.database_url, model.model_id)
            place.phase = "vectors"
            note(resources, held, place)
        case "vectors":
            delete_vectors(resources, held, model, place)
        case "forget":
            return forget(resources, held, model, place)
    return None


def check(resources: Resources, model: Model) -> None:
    """See that nobody needs the model; raises `StateConflictError` when somebody may.

    Nobody begins to while this job is at work, for moves have its key; but it may have been
    cancelled and taken up again since.
    """
    with resources.engine.begin() as connection:
        models = models_from_rows(connection.execute(ALL_MODELS).all())
    for each in models:
        if each.id == model.model_id:
            check_unused(each, models, datetime.now(UTC))


def begin(resources: Resources, held: Held, model: Model, place: Place) -> None:
    """See that no new message gets vectors of the model: a move to it may have been called off."""
    place.phase = "index"
    with resources.engine.begin() as connection:
        total = connection.scalar(ALL_MESSAGES)
        connection.execute(CHANGE_MODELS)
        connection.execute(END_FILLING, {"id": model.model_id})
        held.advance(connection, msgspec.to_builtins(place), total=total)


def delete_vectors(resources: Resources, held: Held, model: Model, place: Place) -> None:
    """Delete the vectors of the next messages of the tenant, or go on to the next tenant."""
    window = {"tenant_id": place.tenant, "model_id": model.model_id, "after": place.after}
    with resources.engine.begin() as connection:
        upto = connection.scalar(WINDOW_END, {**window, "most": WINDOW_MESSAGES})
        window["upto"] = upto
        place.vectors += connection.execute(DELETE_VECTORS, window).rowcount
        passed = connection.execute(PASSED, window).one()
        if upto is not None:
            place.after = upto
        else:
            following = connection.scalar(NEXT_TENANT, {"after": place.tenant})
            place.tenant, place.after = following or "", FIRST
            place.phase = "vectors" if following else "forget"
        held.advance(connection, msgspec.to_builtins(place), passed.messages)


def forget(resources: Resources, held: Held, model: Model, place: Place) -> Values | None:
    """Take the model off the list; the result then.

    A vector that was on its way when the walk came by is found now, and the walk is repeated.
    """
    result = {**held.arguments, "vectors": place.vectors, "seconds": seconds_since(held.started_at)}
    try:
        forget_model(resources.settings.database_url, model.model_id)
    except IntegrityError:
        place.phase, place.tenant, place.after = "vectors", "", FIRST
        note(resources, held, place)
        return None
    details = {"job": held.id, **result}
    record = record_parameters(ALL_TENANTS, held.started_by, held.kind, details, record_id=held.id)
    with resources.engine.begin() as connection:
        connection.execute(INSERT_RECORD, record)
    return result


def note(resources: Resources, held: Held, place: Place) -> None:
    """Note how far it is."""
    with resources.engine.begin() as connection:
        held.advance(connection, msgspec.to_builtins(place))
