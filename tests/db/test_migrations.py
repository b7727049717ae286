"""Migrations: forward, back and forward again, with rows in every table, one at a time."""

import threading

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from db.migrating import _configuration, migrate
from db.revisions import newest_revision
from db.schema import check_schema, current_revision, migration_connection
from db.tables import metadata

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


def test_before_the_archive_the_archived_were_live(empty_database: str) -> None:
    migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute(ROWS)
        connection.execute("update messages set archived_at = now(), embedding_status = 'archived'")
    with migration_connection(empty_database) as connection:
        move(connection, "downgrade", "0002")
    with psycopg.connect(empty_database) as connection:
        assert connection.execute(
            "select embedding_status, archived_at from messages"
        ).fetchone() == (
            "pending",
            None,
        )
        # Its words are wanted in the live index again.
        assert connection.execute("select tenant_id from term_reindexing").fetchall() == [("acme",)]


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
