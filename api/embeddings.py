"""`/v1/admin/embeddings`: the store's embedding models, moving to another, dropping an old one."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.params import RawBody
from msgspec import Meta

from api.bodies import check_json, read
from api.entry import OPERATOR, who
from api.openapi import documented_body
from api.runtime import NamedRuntime, Runtime
from api.starting import start
from db.queries.models import ALL_MODELS, models_from_rows
from db.sessions import operator_transaction
from memory.embedding.recipes import Recipe, StoredModel, droppable
from memory.embedding.select import check_recipe
from memory.errors import EmbeddingSetupError, InvalidFieldError
from memory.jobs import Job
from tasks.dropping import new_drop
from tasks.jobs import NewJob
from tasks.moving import check_same, new_move

HttpRequest = Request[Any, Any, Any]


class ShownModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the store has vectors of.

    Searches use the active one. The one that is filling will be the active one when every message
    has its vectors. `provider` and `setting`, the model's name there, say how it is made; null
    where an earlier version has stored it.
    """

    name: str
    dimensions: int
    state: Literal["active", "filling", "inactive"]
    provider: str | None
    setting: str | None
    created_at: datetime
    activated_at: datetime | None


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The models of the store, in the order in which they came."""

    items: list[ShownModel]


class DropRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model by its name; `dimensions` where there are several of that name."""

    name: Annotated[str, Meta(min_length=1, max_length=512)]
    dimensions: Annotated[int, Meta(ge=1, le=4000)] | None = None


MIGRATE = msgspec.json.Decoder(Recipe)
DROP = msgspec.json.Decoder(DropRequest)


@get("/v1/admin/embeddings", tags=["admin"], opt=OPERATOR)
async def list_models(runtime: NamedRuntime) -> Models:
    """The embedding models that the store has vectors of, and which one searches use."""
    return Models(items=[shown(model) for model in await models_of(runtime)])


@post(
    "/v1/admin/embeddings/migrate",
    operation_class=documented_body(Recipe),
    status_code=202,
    tags=["admin"],
    opt=OPERATOR,
)
async def migrate_embeddings(
    request: HttpRequest, runtime: NamedRuntime, body: RawBody
) -> Response[Job]:
    """Move to another embedding model, while search goes on with the old one; 202 with the job.

    409 while the store moves to a third one, or drops one.
    """
    check_json(request)
    recipe = read(MIGRATE, body)
    try:
        await asyncio.to_thread(check_recipe, runtime.settings, recipe)
    except EmbeddingSetupError as error:
        raise InvalidFieldError("provider", str(error)) from None
    return await started(request, runtime, new_move(recipe, who(request)))


@post(
    "/v1/admin/embeddings/drop",
    operation_class=documented_body(DropRequest),
    status_code=202,
    tags=["admin"],
    opt=OPERATOR,
)
async def drop_embeddings(
    request: HttpRequest, runtime: NamedRuntime, body: RawBody
) -> Response[Job]:
    """Remove an inactive model's vectors and index; 202 with the job.

    409 for the active model, for one that was active until a moment ago, and during a move.
    """
    check_json(request)
    asked = read(DROP, body)
    models = await models_of(runtime)
    model = droppable(models, asked.name, asked.dimensions, datetime.now(UTC))
    return await started(request, runtime, new_drop(model, who(request)))


async def started(request: HttpRequest, runtime: Runtime, new: NewJob) -> Response[Job]:
    """The job as it stands; `StateConflictError` when another changes the models."""
    job = await start(request, runtime, new)
    check_same(job, new)
    return Response(job, status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})


async def models_of(runtime: Runtime) -> list[StoredModel]:
    """The models of the store; who fills one stands in the jobs, which an operator sees."""
    async with operator_transaction(runtime.engine) as connection:
        return models_from_rows((await connection.execute(ALL_MODELS)).all())


def shown(model: StoredModel) -> ShownModel:
    """A model as it is shown."""
    recipe = model.recipe
    return ShownModel(
        name=model.name,
        dimensions=model.dimensions,
        state="active" if model.active else "filling" if model.filling else "inactive",
        provider=recipe.provider if recipe else None,
        setting=recipe.model if recipe else None,
        created_at=model.created_at,
        activated_at=model.activated_at,
    )
