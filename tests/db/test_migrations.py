"""Migrations: forward, back and forward again, with rows in every table, one at a time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from db.migrating import (
    _configuration,
    check_schema,
    current_revision,
    migrate,
    migration_connection,
    newest_revision,
    register_model,
)
from db.tables import metadata
from memory.errors import ModelMismatchError, SchemaOutdatedError

ROWS = """
insert into messages (tenant_id, id, conversation_id, role, content, importance_score, created_at)
values ('acme', '01890000-0000-7000-8000-000000000001', 'c', 'user', 'hello', 0.5, now());
insert into embedding_models (name, dimensions, active) values ('mock', 3, true);
insert into message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)
values ('acme', '01890000-0000-7000-8000-000000000001', 1, 'content', 0, '[1,0,0]');
insert into idempotency_keys (tenant_id, key, digest, message_ids) values ('acme', 'k', '', '{}');
"""


def move(connection: Connection, action: str, revision: str) -> None:
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    getattr(command, action)(configuration, revision)


def revisions() -> int:
    return int(newest_revision())


def test_forward_back_and_forward_again_with_rows(empty_database: str) -> None:
    migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute(ROWS)
    with migration_connection(empty_database) as connection:
        for _ in range(revisions()):
            move(connection, "downgrade", "-1")
        assert current_revision(connection) is None
        move(connection, "upgrade", "head")
        assert current_revision(connection) == newest_revision()
    with psycopg.connect(empty_database) as connection:
        connection.execute(ROWS)


def test_roles_survive_a_downgrade_for_the_databases_that_share_them(empty_database: str) -> None:
    migrate(empty_database)
    with migration_connection(empty_database) as connection:
        move(connection, "downgrade", "base")
        count = "select count(*) from pg_roles where rolname in ('memory_api', 'memory_worker')"
        assert connection.scalar(text(count)) == 2


def test_the_tables_are_what_the_queries_think(database: str) -> None:
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [
            difference
            for difference in compare_metadata(context, metadata)
            if difference[0] not in {"remove_index", "remove_constraint"}
        ]
    engine.dispose()
    assert differences == []


def test_two_migrations_at_once_go_one_by_one(empty_database: str) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(empty_database)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    with migration_connection(empty_database) as connection:
        check_schema(connection)


def test_a_migration_gives_up_on_a_lock_rather_than_stall_the_service(empty_database: str) -> None:
    with migration_connection(empty_database) as connection:
        assert connection.scalar(text("show lock_timeout")) == "5s"
        assert connection.scalar(text("show statement_timeout")) == "10min"


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
