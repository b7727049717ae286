"""The embedding models of a store, looked after by the owner of the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Connection, text

from db.queries.models import (
    ACTIVE_MODEL,
    ADD_MODEL,
    ALL_MODELS,
    FORGET_MODEL,
    INDEX_STATE,
    INSERT_ACTIVE_MODEL,
    NOTE_RECIPE,
    hnsw_index,
    index_name,
    model_from_row,
    models_from_rows,
    no_hnsw_index,
    recipe_parameters,
)
from db.schema import check_schema, migration_connection, owner_connection
from memory.embedding.recipes import Recipe, StoredModel
from memory.errors import ModelMismatchError

IndexState = Literal["valid", "building", "broken", "missing"]


def active_model(url: str) -> StoredModel | None:
    """The store's active model, None when it has none yet; raises `SchemaOutdatedError`."""
    with owner_connection(url) as connection:
        check_schema(connection)
        row = connection.execute(ACTIVE_MODEL).one_or_none()
    return None if row is None else model_from_row(row)


def register_model(url: str, model: str, dimensions: int, recipe: Recipe | None = None) -> int:
    """The id of the store's active model, which the first caller on an empty store chooses.

    Notes the `recipe` of a model that has none. Raises `SchemaOutdatedError`, or
    `ModelMismatchError` when the store's vectors are of another model.
    """
    active = active_model(url)
    # Without the lock so far: a service that starts must not wait for a long migration.
    if active is None:
        active = _first_model(url, model, dimensions, recipe)
    if (active.name, active.dimensions) != (model, dimensions):
        raise ModelMismatchError(
            f"The store holds vectors of {active}, but {model} ({dimensions}) is configured. Set"
            " MEMORY_EMBEDDING_PROVIDER, MEMORY_EMBEDDING_MODEL_NAME and"
            " MEMORY_EMBEDDING_DIMENSIONS back, or use another database (MEMORY_DATABASE_URL, or"
            " MEMORY_DATA_DIR for the embedded one). Once it has started with its model,"
            " `aiml embeddings migrate` moves it to another."
        )
    if active.recipe is None and recipe is not None:
        with owner_connection(url) as connection:
            connection.execute(NOTE_RECIPE, {"id": active.id, **recipe_parameters(recipe)})
            connection.commit()
    return active.id


def all_models(url: str) -> list[StoredModel]:
    """The models that the store knows; raises `SchemaOutdatedError`."""
    with owner_connection(url) as connection:
        check_schema(connection)
        return models_from_rows(connection.execute(ALL_MODELS).all())


def add_model(url: str, model: str, dimensions: int, recipe: Recipe) -> StoredModel:
    """The stored model of that name, made when it is not there yet; it is to be made so."""
    parameters = {"name": model, "dimensions": dimensions, **recipe_parameters(recipe)}
    with owner_connection(url) as connection:
        row = connection.execute(ADD_MODEL, parameters).one()
        connection.commit()
    return model_from_row(row)


def forget_model(url: str, model_id: int) -> bool:
    """Whether the model is no longer in the store; one that is in use stays.

    Raises SQLAlchemy's `IntegrityError` while there are vectors of it.
    """
    with owner_connection(url) as connection:
        forgotten = connection.execute(FORGET_MODEL, {"id": model_id}).rowcount
        connection.commit()
    return forgotten == 1


def index_state(url: str, model_id: int) -> IndexState:
    """How the index of a model's vectors is; `building` while any process builds it."""
    with owner_connection(url) as connection:
        state = connection.scalar(INDEX_STATE, {"name": index_name(model_id)})
    return state or "missing"


def build_index(url: str, model_id: int, dimensions: int) -> None:
    """Build the index of a model's vectors while others write; it takes as long as it takes."""
    with _unhurried(url) as connection:
        connection.execute(no_hnsw_index(model_id))
        connection.execute(hnsw_index(model_id, dimensions, concurrently=True))


def drop_index(url: str, model_id: int) -> None:
    """Drop the index of a model's vectors while others write."""
    with _unhurried(url) as connection:
        connection.execute(no_hnsw_index(model_id))


@contextmanager
def _unhurried(url: str) -> Iterator[Connection]:
    """A connection without time limits, whose statements are each a transaction."""
    with owner_connection(url) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        # What is built or dropped concurrently waits for transactions that are under way.
        connection.execute(text("set lock_timeout = 0"))
        connection.execute(text("set statement_timeout = 0"))
        yield connection


def _first_model(url: str, model: str, dimensions: int, recipe: Recipe | None) -> StoredModel:
    with migration_connection(url) as connection:
        active = connection.execute(ACTIVE_MODEL).one_or_none()
        if active is None:
            parameters = {"name": model, "dimensions": dimensions, **recipe_parameters(recipe)}
            active = connection.execute(INSERT_ACTIVE_MODEL, parameters).one()
            connection.execute(hnsw_index(active.id, dimensions))
            connection.commit()
        return model_from_row(active)
