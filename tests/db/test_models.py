"""The models of a store: the first one, those that come later, and their indexes."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from db.migrating import migration_connection
from db.models import register_model
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
        assert time.monotonic() - started < 5


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
