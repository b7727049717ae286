"""The models of a store: the first one, those that come later, and their indexes."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from db.models import (
    active_model,
    add_model,
    all_models,
    build_index,
    drop_index,
    forget_model,
    index_state,
    register_model,
)
from db.queries.models import index_name
from db.schema import migration_connection
from memory.embedding.recipes import Recipe
from memory.errors import ModelMismatchError, SchemaOutdatedError


def test_an_old_schema_is_named(empty_database: str) -> None:
    with pytest.raises(SchemaOutdatedError, match="aiml migrate"):
        register_model(empty_database, "mock", 3)


def test_a_newer_schema_is_lived_with(database: str, owner: Connection) -> None:
    owner.execute(text("update alembic_version set version_num = '9999'"))
    assert register_model(database, "mock", 3) > 0


def test_a_service_that_starts_does_not_wait_for_a_migration(database: str) -> None:
    first = register_model(database, "mock", 3)
    with migration_connection(database):
        started = time.monotonic()
        assert register_model(database, "mock", 3) == first
        assert time.monotonic() - started < 30


def test_several_that_start_on_an_empty_store_agree_on_its_model(database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: register_model(database, "mock", 3), range(4)))
    assert len(set(ids)) == 1


def test_the_first_model_becomes_the_stores_and_another_is_refused(database: str) -> None:
    first = register_model(database, "mock", 384)
    assert register_model(database, "mock", 384) == first
    with pytest.raises(ModelMismatchError, match="holds vectors of mock"):
        register_model(database, "other", 384)
    with pytest.raises(ModelMismatchError, match="MEMORY_EMBEDDING_PROVIDER"):
        register_model(database, "mock", 768)


def test_a_model_of_an_earlier_version_is_noted_how_it_is_made(
    database: str, owner: Connection
) -> None:
    owner.execute(
        text("insert into embedding_models (name, dimensions, active) values ('mock', 3, true)")
    )
    assert active_model(database).recipe is None
    recipe = Recipe(provider="mock", dimensions=3)
    register_model(database, "mock", 3, recipe)
    assert active_model(database).recipe == recipe
    register_model(database, "mock", 3, Recipe(provider="mock", dimensions=4))
    assert active_model(database).recipe == recipe


def test_the_index_of_a_model_can_be_dropped_and_built_while_others_write(
    database: str, owner: Connection
) -> None:
    model_id = register_model(database, "mock", 3)
    assert index_state(database, model_id) == "valid"
    drop_index(database, model_id)
    assert index_state(database, model_id) == "missing"
    build_index(database, model_id, 3)
    assert index_state(database, model_id) == "valid"
    definition = owner.scalar(
        text("select pg_get_indexdef(cast(:name as regclass))"), {"name": index_name(model_id)}
    )
    for part in ("hnsw", "halfvec(3)", "ef_construction='128'", f"model_id = {model_id}"):
        assert part in definition


def test_a_model_that_is_in_use_is_not_forgotten(database: str) -> None:
    first = register_model(database, "mock", 3)
    other = add_model(database, "mock", 4, Recipe(provider="mock", dimensions=4))
    assert (forget_model(database, first), forget_model(database, other.id)) == (False, True)
    assert [model.id for model in all_models(database)] == [first]
