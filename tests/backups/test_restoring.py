"""Bringing a store back: as it was, in the place of what is there, or not at all."""

from pathlib import Path

import msgspec
import psycopg
import pytest

from cli.postgres import EmbeddedPostgres
from db.migrating import migrate
from db.revisions import newest_revision
from db.schema import current_revision, migration_connection, oldest_served, owner_connection
from memory.errors import BackupError, StateConflictError
from tasks.backing_up import back_up
from tasks.backup_files import manifest_path, read_manifest, write_manifest
from tasks.restoring import restore
from tests.backups.storing import (
    Watched,
    as_login,
    databases,
    everything,
    fill,
    indexes,
    name_of,
)
from tests.db.test_migrations import move


def test_all_of_it_comes_back_row_by_row(filled: str, backup: Path, empty_database: str) -> None:
    before = everything(filled)
    restored = restore(empty_database, backup, Watched(), overwrite=False)
    assert everything(empty_database) == before
    assert restored.rows == read_manifest(backup).rows
    assert indexes(empty_database) == indexes(filled)
    # The schema notes in a comment which versions it serves.
    with owner_connection(empty_database) as connection:
        assert oldest_served(connection)


def test_the_walls_between_tenants_are_there_again(backup: Path, empty_database: str) -> None:
    restore(empty_database, backup, Watched(), overwrite=False)
    with psycopg.connect(empty_database) as connection:
        connection.execute("select set_config('memory.tenants', 'globex', true)")
        connection.execute("set local role memory_api")
        seen = connection.execute("select distinct tenant_id from messages").fetchall()
        assert seen == [("globex",)]


def test_a_server_without_the_roles_and_another_login_gets_them(
    backup: Path, empty_database: str
) -> None:
    """As on a managed server: no superuser, but one who may make databases and roles."""
    login = "landlord"
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(f"create role {login} login createdb createrole password '{login}'")
        connection.execute(f"grant memory_api, memory_worker to {login} with admin option")
        connection.execute(f"create extension vector; grant all on schema public to {login}")
        connection.execute(f"grant create on database {name_of(empty_database)} to {login}")
        try:
            url = as_login(empty_database, login)
            restore(url, backup, Watched(), overwrite=False)
            owners = connection.execute(
                "select distinct pg_get_userbyid(relowner) from pg_class"
                " where relnamespace = 'public'::regnamespace and relkind = 'r'"
            ).fetchall()
            assert owners == [(login,)]
            # It may not replace a database that is another's.
            with pytest.raises(BackupError, match="must own this one"):
                restore(url, backup, Watched(), overwrite=True)
        finally:
            connection.execute(f"drop owned by {login}; drop role {login}")


def test_a_store_is_not_overwritten_without_a_word(
    filled: str, backup: Path, database: str
) -> None:
    before = everything(filled)
    with pytest.raises(StateConflictError, match=r"51 messages, 3 tenants, 1 keys.*--overwrite"):
        restore(filled, backup, Watched(), overwrite=False)
    assert everything(filled) == before


def test_overwritten_it_is_as_it_was(filled: str, backup: Path) -> None:
    before = everything(filled)
    with psycopg.connect(filled) as connection:
        connection.execute("delete from messages where tenant_id = 'acme'")
        connection.execute("create table later (id int)")
    restore(filled, backup, Watched(), overwrite=True)
    assert everything(filled) == before
    assert not [name for name in databases(filled) if name.startswith("aiml_scratch")]


def test_it_holds_the_letters_that_it_held_before(
    filled: str, backups: Path, postgres: EmbeddedPostgres
) -> None:
    name = name_of(filled)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        # As on a server that was made without a locale, where a store brought its own.
        connection.execute(f"drop database {name} with (force)")
        connection.execute(
            f"create database {name} template template0 encoding 'LATIN1'"
            " locale_provider libc lc_collate 'C' lc_ctype 'C'"
        )
    migrate(filled)
    fill(filled)
    before = everything(filled)
    made = back_up(filled, backups, Watched(), verify=True)
    assert made.verified_at
    restore(filled, backups / made.file, Watched(), overwrite=True)
    assert everything(filled) == before
    with psycopg.connect(filled) as connection:
        letters = connection.execute(
            "select pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype"
            " from pg_database where datname = current_database()"
        ).fetchone()
    assert letters == ("LATIN1", "c", "C", "C")


@pytest.mark.parametrize("stage", ["restoring", "taking statistics", "taking its place"])
def test_what_fails_before_the_end_leaves_the_store(filled: str, backup: Path, stage: str) -> None:
    with psycopg.connect(filled) as connection:
        connection.execute("delete from messages where tenant_id = 'acme'")
    before = everything(filled)

    class Failing(Watched):
        def stage(self, what: str, total: int) -> None:
            super().stage(what, total)
            if what == stage:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(filled, backup, Failing(), overwrite=True)
    assert everything(filled) == before
    assert not [name for name in databases(filled) if name.startswith("aiml_scratch")]


def test_what_fails_leaves_an_empty_database_empty(
    backup: Path, empty_database: str, filled: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        restore(empty_database, backup, Watched("restoring", KeyboardInterrupt()), overwrite=False)
    assert everything(empty_database) == {}


def test_a_store_that_is_in_use_is_not_replaced(filled: str, backup: Path) -> None:
    with (
        psycopg.connect(filled, application_name="memory_api"),
        psycopg.connect(filled, application_name="memory_worker"),
        pytest.raises(StateConflictError, match=r"memory_api \(1\), memory_worker \(1\): stop"),
    ):
        restore(filled, backup, Watched(), overwrite=True)


def test_a_damaged_file_is_refused_before_anything_is_done(
    backup: Path, empty_database: str
) -> None:
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    backup.write_bytes(content)
    with pytest.raises(BackupError, match="is damaged: its SHA-256"):
        restore(empty_database, backup, Watched(), overwrite=False)
    backup.write_bytes(content[:-1])
    with pytest.raises(BackupError, match="bytes, its manifest says"):
        restore(empty_database, backup, Watched(), overwrite=False)
    assert everything(empty_database) == {}


def test_a_file_that_is_no_backup_is_refused(backup: Path, empty_database: str) -> None:
    wrong = {
        "has no manifest": lambda: manifest_path(backup).rename(backup.with_suffix(".away")),
        "is not the manifest": lambda: manifest_path(backup).write_text("[1]"),
        "is not the manifest of a backup": lambda: manifest_path(backup).write_text('{"a": 1}'),
        "is of version 2, this knows 1": lambda: manifest_path(backup).write_text(
            '{"format": "ai-memory-layer/backup", "version": 2}'
        ),
        "is not there": backup.unlink,
    }
    for said, spoil in wrong.items():
        spoil()
        with pytest.raises(BackupError, match=said):
            restore(empty_database, backup, Watched(), overwrite=False)


def test_a_backup_of_an_older_schema_is_migrated(
    empty_database: str, database: str, backups: Path
) -> None:
    older = "0004"
    migrate(empty_database)
    with migration_connection(empty_database) as connection:
        move(connection, "downgrade", older)
    with psycopg.connect(empty_database) as plain:
        plain.execute(
            "insert into messages (tenant_id, id, conversation_id, role, content,"
            " importance_score, created_at) values ('acme', gen_random_uuid(), 'c', 'user', 'old',"
            " 0.5, now())"
        )
    manifest = back_up(empty_database, backups, Watched(), verify=True)
    assert manifest.revision == older
    restore(database, backups / manifest.file, Watched(), overwrite=True)
    with migration_connection(database) as connection:
        assert current_revision(connection) == newest_revision()
    with psycopg.connect(database) as plain:
        found = plain.execute("select content, pending_since is not null from messages").fetchall()
    assert found == [("old", True)]


def test_a_backup_of_a_newer_schema_is_refused(backup: Path, empty_database: str) -> None:
    newer = msgspec.structs.replace(read_manifest(backup), revision="9999", service="9.0.0")
    write_manifest(backup.parent, newer)
    with pytest.raises(BackupError, match=r"schema 9999 \(version 9.0.0\).*knows up to"):
        restore(empty_database, backup, Watched(), overwrite=False)


def test_a_newer_vector_extension_than_the_servers_is_named(
    backup: Path, empty_database: str
) -> None:
    newer = msgspec.structs.replace(read_manifest(backup), vector="99.1.0")
    write_manifest(backup.parent, newer)
    with pytest.raises(BackupError, match=r"has pgvector .*, the backup is of 99.1.0"):
        restore(empty_database, backup, Watched(), overwrite=False)


def test_jobs_go_on_but_for_the_one_that_made_the_backup(
    filled: str, backups: Path, empty_database: str
) -> None:
    with psycopg.connect(filled) as connection:
        connection.execute(
            "insert into jobs (tenant_id, id, kind, state, started_by) values"
            " ('*', gen_random_uuid(), 'backup', 'running', 'schedule'),"
            " ('*', gen_random_uuid(), 'retention', 'running', 'schedule')"
        )
    manifest = back_up(filled, backups, Watched(), verify=False)
    restore(empty_database, backups / manifest.file, Watched(), overwrite=False)
    with psycopg.connect(empty_database) as connection:
        jobs = connection.execute("select kind, state from jobs order by 1").fetchall()
    assert jobs == [("backup", "cancelled"), ("retention", "running")]
