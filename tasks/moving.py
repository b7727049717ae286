"""Moving a store to another embedding model while it is used.

The new model is registered and its index built while it has no vectors. From when it is `filling`,
each message that is stored gets vectors of both models, and the job walks through those that were
there before: round by round, until a round finds none that lacks its vectors. That is the
verification; then the switch is one transaction.
"""

import threading
import time
from uuid import UUID

import msgspec
import structlog
from celery import shared_task

from db.models import active_model, add_model, build_index, index_state
from db.queries.audit import INSERT_RECORD, record_parameters
from db.queries.models import ACTIVATE, BEGIN_FILLING, CHANGE_MODELS, DEACTIVATE, JOB_KEY
from db.queries.moving import LIVE_MESSAGES, WAITED
from memory.embedding.protocol import Embedder
from memory.embedding.recipes import Recipe
from memory.embedding.select import create_embedder
from memory.errors import JobStepError, StateConflictError
from memory.jobs import ALL_TENANTS, Job
from memory.rerank.select import create_reranker
from memory.settings import Settings
from tasks.base import Task
from tasks.expiring import seconds_since
from tasks.filling import Place, Walk, filled_model, move_obstacle
from tasks.jobs import PUT_OFF, TASK_ENOUGH_SECONDS, Held, NewJob, Values, run_job
from tasks.resources import Resources

log = structlog.get_logger(__name__)

# What is posted waits so long in the same queue, or as long as the move has waited for it.
TURN_SECONDS = 2.0
# A build goes on in a thread, and in the database; a step looks after it so often.
INDEX_LOOK_SECONDS = 2.0
INDEX_TRIES = 3
# Where the new model refuses more than a hundredth of the messages the move is called off.
REFUSED_SHARE = 0.01
REFUSED_ANYWAY = 10
# What was stored before the first round is there in its; later ones find next to nothing.
MOST_ROUNDS = 10


@shared_task(name="migrate_embeddings", base=Task, bind=True)
def migrate_embeddings(task: Task, tenant_id: str, job_id: str) -> str:
    """Work on a move to another embedding model."""
    seconds = turn_seconds(task.resources, UUID(job_id))
    if obstacle := move_obstacle(task.resources):
        # It waits to be restarted as a stalled one is.
        raise JobStepError(f"{PUT_OFF}: {obstacle}")
    return run_job(task, "embeddings_migrate", migrate_step, tenant_id, job_id, seconds)


def turn_seconds(resources: Resources, job_id: UUID) -> float:
    """How long a turn may be: half of a worker's time is a move's, whatever waits in its queue."""
    with resources.engine.begin() as connection:
        waited = connection.scalar(WAITED, {"id": job_id}) or 0.0
    return min(TASK_ENOUGH_SECONDS, max(TURN_SECONDS, waited))


def new_move(recipe: Recipe, started_by: str) -> NewJob:
    """The job of a move; one job at a time changes the models of a store."""
    arguments = msgspec.to_builtins(recipe)
    return NewJob("embeddings_migrate", ALL_TENANTS, arguments, started_by, JOB_KEY)


def check_same(job: Job, new: NewJob) -> None:
    """Raise `StateConflictError` when `job`, which changes the models, is to do else than `new`."""
    if (job.kind, job.arguments) != (new.kind, new.arguments):
        raise StateConflictError(
            f"Job {job.id} ({job.kind}) changes the store's models: wait for it, or cancel it."
        )


def migrate_step(resources: Resources, held: Held) -> Values | None:
    """Do the next slice of a move; its result when the store has moved."""
    place = msgspec.convert(held.position, Place)
    match place.phase:
        case "register":
            return register(resources, held, place)
        case "index":
            see_to_index(resources, held, place)
        case "fill":
            if not Walk(resources, held, place).go_on():
                begin_anew(resources, held)
        case "judge":
            judge(resources, held, place)
        case "switched":
            return result_of(held, place)
    return None


def register(resources: Resources, held: Held, place: Place) -> Values | None:
    """See that the model works here, and have the store know it; nothing to do for the active one.

    Raises `EmbeddingSetupError` when it does not.
    """
    recipe = msgspec.convert(held.arguments, Recipe)
    embedder = create_embedder(recipe.applied_to(resources.settings))
    embedder.embed(["ready"])
    check_reranker(resources.settings, embedder)
    place.model, place.dimensions = embedder.model, embedder.dimensions
    url = resources.settings.database_url
    active = active_model(url)
    if active is None:
        raise StateConflictError("The store has no model yet: the settings choose its first.")
    if (active.name, active.dimensions) == (place.model, place.dimensions):
        return result_of(held, place)
    place.model_id = add_model(url, place.model, place.dimensions, recipe).id
    place.phase = "index"
    note(resources, held, place)
    return None


def check_reranker(settings: Settings, embedder: Embedder) -> None:
    """Raise `EmbeddingSetupError` when the configured reranker could not read with `embedder`."""
    if settings.reranker == "late_interaction":
        create_reranker(settings.reranker, "", embedder)


def see_to_index(resources: Resources, held: Held, place: Place) -> None:
    """Have the model's index built; once it is there, begin to fill."""
    url = resources.settings.database_url
    state = index_state(url, place.model_id)
    if state == "valid":
        begin_filling(resources, held, place)
        return
    if state == "building":
        time.sleep(INDEX_LOOK_SECONDS / 2)
    elif place.builds == INDEX_TRIES:
        raise StateConflictError(
            f"The index of {place.model} could not be built; see PostgreSQL's log."
        )
    else:
        place.builds += 1
        build(url, place)
    note(resources, held, place)


def build(url: str, place: Place) -> None:
    """Build the index. One that takes long goes on when this returns.

    It reads the whole table of vectors, though it finds none of its own there; no task may take
    so long. Raises what went wrong by then.
    """
    failures: list[Exception] = []

    def run() -> None:
        try:
            build_index(url, place.model_id, place.dimensions)
        except Exception as error:
            log.warning("index_not_built", model=place.model, reason=type(error).__name__)
            failures.append(error)

    builder = threading.Thread(target=run, name="build-index", daemon=True)
    builder.start()
    builder.join(INDEX_LOOK_SECONDS)
    if failures:
        raise failures[0]


def begin_filling(resources: Resources, held: Held, place: Place) -> None:
    """From here on a new message gets vectors of the new model too."""
    with resources.engine.begin() as connection:
        total = connection.scalar(LIVE_MESSAGES)
    place.phase = "fill"
    with resources.engine.begin() as connection:
        connection.execute(CHANGE_MODELS)
        connection.execute(BEGIN_FILLING, {"id": place.model_id, "job": str(held.id)})
        held.advance(connection, msgspec.to_builtins(place), -held.done, total)


def judge(resources: Resources, held: Held, place: Place) -> None:
    """After a round: switch when all had their vectors, else go round again.

    Raises `StateConflictError` when the model refuses too much.
    """
    if place.refused > max(REFUSED_ANYWAY, REFUSED_SHARE * place.passed):
        begin_anew(resources, held)
        named = ", ".join(map(str, place.refused_ids[:3]))
        raise StateConflictError(
            f"{place.model} refuses {place.refused:,} of {place.passed:,} messages, such as"
            f" {named}: searches stay with the model that they have."
        )
    if place.round == MOST_ROUNDS:
        raise StateConflictError(f"Still not all messages have vectors of {place.model}.")
    if place.filled or (place.round == 1 and place.refused):
        place.next_round()
        note(resources, held, place)
    elif not has_index(resources, place) or not switch(resources, held, place):
        begin_anew(resources, held)


def has_index(resources: Resources, place: Place) -> bool:
    """Whether the model's index is there; it would not be if a drop had been at work between."""
    return index_state(resources.settings.database_url, place.model_id) == "valid"


def switch(resources: Resources, held: Held, place: Place) -> bool:
    """Make the model the active one; False when it is not being filled any more."""
    with resources.engine.begin() as connection:
        connection.execute(CHANGE_MODELS)
        if filled_model(connection, held, place) is None:
            return False
        connection.execute(DEACTIVATE)
        connection.execute(ACTIVATE, {"id": place.model_id})
        place.phase = "switched"
        held.advance(connection, msgspec.to_builtins(place))
        details = {"job": held.id, **result_of(held, place)}
        record = record_parameters(
            ALL_TENANTS, held.started_by, held.kind, details, record_id=held.id
        )
        connection.execute(INSERT_RECORD, record)
    log.info("model_switched", model=place.model, dimensions=place.dimensions)
    # The embedder of the old one is let go.
    resources.models.wanted()
    return True


def result_of(held: Held, place: Place) -> Values:
    """What came of a move: `messages` have vectors of the model, `embedded` of them by the move."""
    return {
        "model": place.model,
        "dimensions": place.dimensions,
        "messages": place.passed,
        "embedded": place.embedded,
        "refused": place.refused,
        "refused_ids": place.refused_ids,
        "seconds": seconds_since(held.started_at),
    }


def begin_anew(resources: Resources, held: Held) -> None:
    """Go back to the beginning; what has vectors by then is passed by."""
    note(resources, held, Place())


def note(resources: Resources, held: Held, place: Place) -> None:
    """Note how far the move is."""
    with resources.engine.begin() as connection:
        held.advance(connection, msgspec.to_builtins(place))
