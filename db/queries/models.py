"""Embedding models: which ones the store wants vectors of, and their indexes.

Searches use the active model. While the store moves to another one, that one is `filling`: each
message then gets vectors of both. Who marks messages as embedded shares a lock, and who changes
which models are wanted has it alone; so at no moment is a message taken for embedded that lacks
what has been wanted since before its commit.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, TextClause, select, text

from db.tables import embedding_models
from memory.embedding.recipes import Recipe, StoredModel
from memory.jobs import ALL_TENANTS

ACTIVE_MODEL = (
    select(embedding_models).prefix_with("/* active_model */").where(embedding_models.c.active)
)
ACTIVE_ID = text("/* active_id */ select id from embedding_models where active")

# The lock, whose key is the word "model", is held to the end of the transaction. It is a statement
# of its own, so that the next one reads what was committed by whoever had it before.
SHARE_MODELS = text("/* share_models */ select pg_advisory_xact_lock_shared(469786060140)")
CHANGE_MODELS = text("/* change_models */ select pg_advisory_xact_lock(469786060140)")

WANTED_IDS = text("/* wanted_ids */ select id from embedding_models where active or filling")

# A model is filled by a job. When that was cancelled, or has failed, nobody fills it any more.
JOB_KEY = "embedding_models"
_ABANDONED = f"""filling and not exists (
  select from jobs where jobs.tenant_id = '{ALL_TENANTS}' and jobs.unique_key = '{JOB_KEY}'
    and jobs.kind = 'embeddings_migrate' and jobs.state in ('queued', 'running'))"""
_COLUMNS = ", ".join(column.name for column in embedding_models.columns)

ALL_MODELS = text(f"""
/* all_models */
select {_COLUMNS}, {_ABANDONED} as abandoned from embedding_models order by id
""")  # noqa: S608 - our own text only

WANTED_MODELS = text(f"""
/* wanted_models */
select {_COLUMNS}, {_ABANDONED} as abandoned
from embedding_models where active or filling order by active desc, id
""")  # noqa: S608 - our own text only

END_ABANDONED = text(f"""
/* end_abandoned */
update embedding_models set filling = false where {_ABANDONED}
""")  # noqa: S608 - our own text only

# Where two processes start at once on an empty store, the second finds the first one's.
INSERT_ACTIVE_MODEL = text("""
/* insert_active_model */
insert into embedding_models (name, dimensions, active, provider, setting, activated_at)
values (:name, :dimensions, true, :provider, :setting, now())
on conflict (name, dimensions) do update
  set active = true, provider = excluded.provider, setting = excluded.setting,
    activated_at = now()
returning *
""")

NOTE_RECIPE = text("""
/* note_recipe */
update embedding_models set provider = :provider, setting = :setting
where id = :id and provider is null
""")

ADD_MODEL = text("""
/* add_model */
insert into embedding_models (name, dimensions, provider, setting)
values (:name, :dimensions, :provider, :setting)
on conflict (name, dimensions) do update
  set provider = excluded.provider, setting = excluded.setting
returning *
""")

# One at a time. Whose filling it is stands with it: a job that was interrupted may find that its
# model is being filled, but not without a gap since it began.
BEGIN_FILLING = text("""
/* begin_filling */
update embedding_models
set filling = (id = :id), setting = cast(
  cast(setting as jsonb) || jsonb_build_object('filled_by', cast(:job as text)) as text)
where filling or id = :id
""")

END_FILLING = text("""
/* end_filling */
update embedding_models set filling = false where id = :id and filling
""")

# When the active one was chosen by a version that did not note it, it was when it was made.
DEACTIVATE = text("""
/* deactivate */
update embedding_models
set active = false, activated_at = coalesce(activated_at, created_at) where active
""")

ACTIVATE = text("""
/* activate */
update embedding_models set active = true, filling = false, activated_at = now() where id = :id
""")

FORGET_MODEL = text("""
/* forget_model */
delete from embedding_models where id = :id and not active and not filling
""")

# pgvector's default of 64 misses too many of the nearest among 100,000
# (docs/decisions/0005-lexical-and-dense.md).
EF_CONSTRUCTION = 128


def hnsw_index(model_id: int, dimensions: int, *, concurrently: bool = False) -> TextClause:
    """The index of one model's vectors.

    Partial, because it would refuse a row of another model's dimensions. A plain build locks out
    writers: for a table without vectors.
    """
    how = "concurrently " if concurrently else ""
    return text(
        f"create index {how}if not exists {index_name(model_id)} on message_embeddings"
        f" using hnsw ((embedding::halfvec({int(dimensions)})) halfvec_cosine_ops)"
        f" with (ef_construction = {EF_CONSTRUCTION}) where model_id = {int(model_id)}"
    )


def no_hnsw_index(model_id: int) -> TextClause:
    """Drops the index of one model's vectors, whole or broken, while others write."""
    return text(f"drop index concurrently if exists {index_name(model_id)}")


def index_name(model_id: int) -> str:
    """What the index of one model's vectors is called."""
    return f"message_embeddings_hnsw_{int(model_id)}"


# A build that was interrupted leaves an index that is not valid, as one that is under way does.
INDEX_STATE = text("""
/* index_state */
select case when pg_index.indisvalid then 'valid'
  when building.pid is not null then 'building' else 'broken' end
from pg_index left join pg_stat_progress_create_index as building
  on building.index_relid = pg_index.indexrelid
where pg_index.indexrelid = to_regclass(:name)
""")


class _Setting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the column of that name holds, as JSON."""

    model: str = ""
    dimensions: int | None = None
    filled_by: UUID | None = None


def model_from_row(row: Row[Any]) -> StoredModel:
    """The model of a row of `embedding_models`, which may say that nobody fills it any more."""
    setting = msgspec.json.decode(row.setting or "{}", type=_Setting)
    recipe = row.provider and msgspec.convert(
        {"provider": row.provider, "model": setting.model, "dimensions": setting.dimensions}, Recipe
    )
    filling = row.filling and not row._mapping.get("abandoned", False)
    return StoredModel(
        id=row.id,
        name=row.name,
        dimensions=row.dimensions,
        active=row.active,
        filling=filling,
        recipe=recipe,
        created_at=row.created_at,
        activated_at=row.activated_at,
        filled_by=setting.filled_by if filling else None,
    )


def models_from_rows(rows: Sequence[Row[Any]]) -> list[StoredModel]:
    """The models of rows of `embedding_models`, in their order."""
    return [model_from_row(row) for row in rows]


def recipe_parameters(recipe: Recipe | None) -> dict[str, str | None]:
    """How a recipe is stored: what is beside the provider, as JSON."""
    if recipe is None:
        return {"provider": None, "setting": None}
    setting = _Setting(model=recipe.model, dimensions=recipe.dimensions)
    return {"provider": recipe.provider, "setting": msgspec.json.encode(setting).decode()}


def wanted_models(connection: Connection) -> list[StoredModel]:
    """The active model, then the one that is being filled, if any is.

    What nobody fills any more is no longer wanted from here on.
    """
    rows = connection.execute(WANTED_MODELS).all()
    if any(row.abandoned for row in rows):
        connection.execute(CHANGE_MODELS)
        connection.execute(END_ABANDONED)
        rows = connection.execute(WANTED_MODELS).all()
    return models_from_rows(rows)
