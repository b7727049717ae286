"""A store that is in use is migrated: nobody waits long, nothing is left half done."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic import command as alembic
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import migrating, schema
from db.migrating import migrate
from db.revisions import newest_revision
from db.schema import current_revision, migration_connection, owner_connection
from memory.errors import MigrationError
from tests.db.next_version import ADD_COLUMN, BUILD_INDEX, Next, next_folder, next_version
from tests.older_version import ROOT
from tests.processes import wait_until

__all__ = ["next_folder", "next_version"]  # fixtures

# As `aiml migrate` of the next version.
MIGRATE = """
import sys
from pathlib import Path
from db import migrating, revisions
revisions.FOLDERS.append(Path(sys.argv[2]))
migrating.migrate(sys.argv[1])
"""
MIGRATING = "select count(*) from pg_stat_activity where application_name = 'memory_migrate'"
LATER = "select count(*) from pg_attribute where attname = 'later'"
INDEX = """
select indisvalid from pg_index where indexrelid = to_regclass('messages_later')
"""


@contextmanager
def using_messages(url: str) -> Iterator[psycopg.Connection[tuple[int]]]:
    """A transaction that has written messages and is not over."""
    with psycopg.connect(url, application_name="a long import") as connection:
        connection.execute("lock table messages in row exclusive mode")
        yield connection


@contextmanager
def migrating_beside(url: str) -> Iterator[list[str]]:
    """What is reported, while it is migrated in a thread; what it raises comes last."""
    said: list[str] = []

    def run() -> None:
        try:
            migrate(url, said.append)
        except Exception as error:
            said.append(repr(error))

    thread = threading.Thread(target=run)
    thread.start()
    yield said
    thread.join(60)
    assert not thread.is_alive()


def test_nobody_waits_behind_a_migration_that_waits(database: str, next_version: Next) -> None:
    next_version(ADD_COLUMN)
    with using_messages(database) as importing, migrating_beside(database) as said:
        wait_until(lambda: len(said) > 1, "it has given up once")
        # The next tries wait for the same lock; whoever comes meanwhile is through soon.
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("set lock_timeout = '10s'")
            for _ in range(5):
                other.execute("select count(*) from messages")
        assert "a long import" in said[1]
        importing.rollback()
    assert all("another try" in line for line in said[1:])
    with psycopg.connect(database) as connection:
        assert connection.execute(LATER).fetchone() == (1,)


def test_it_gives_up_in_the_end_and_says_what_is_in_the_way(
    database: str, next_version: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_version(ADD_COLUMN)
    before = newest_revision()
    monkeypatch.setattr(migrating, "PAUSES_SECONDS", (0.01,))
    with using_messages(database), pytest.raises(MigrationError, match="a long import"):
        migrate(database)
    with owner_connection(database) as connection:
        assert current_revision(connection) != before
        assert connection.scalar(text(LATER)) == 0


def test_a_migration_that_fails_leaves_nothing(database: str, next_version: Next) -> None:
    next_version(f"{ADD_COLUMN}; op.execute('select 1 / 0')")
    with pytest.raises(DBAPIError, match="division by zero"):
        migrate(database)
    with owner_connection(database) as connection:
        assert connection.scalar(text(LATER)) == 0
    next_version(ADD_COLUMN)
    migrate(database)
    with owner_connection(database) as connection:
        assert current_revision(connection) == "next"


def test_what_was_done_before_one_fails_stays(database: str, next_version: Next) -> None:
    newest = newest_revision()
    with migration_connection(database) as connection:
        configuration = migrating._configuration()
        configuration.attributes["connection"] = connection
        alembic.downgrade(configuration, "-1")
    next_version("op.execute('select 1 / 0')")
    with pytest.raises(DBAPIError, match="division by zero"):
        migrate(database)
    with owner_connection(database) as connection:
        assert current_revision(connection) == newest


def test_an_index_is_built_while_others_write_and_migrate(
    database: str, next_version: Next
) -> None:
    next_version(BUILD_INDEX)
    # The second migrator waits for the first, which waits for the transaction.
    with (
        using_messages(database) as importing,
        migrating_beside(database) as first,
        migrating_beside(database) as second,
        psycopg.connect(database, autocommit=True) as other,
    ):
        building = "select count(*) from pg_stat_progress_create_index"
        wait_until(lambda: other.execute(building).fetchone() == (1,), "it is built")
        other.execute("set lock_timeout = '10s'")
        other.execute("delete from messages")
        importing.rollback()
    assert len(first) + len(second) == 1, "one of them had nothing to do, and none failed"
    with owner_connection(database) as connection:
        assert connection.scalar(text(INDEX)) is True


def test_an_index_whose_build_was_killed_is_built_anew(database: str, next_version: Next) -> None:
    next_version(BUILD_INDEX)
    killed = "select pg_terminate_backend(pid) from pg_stat_progress_create_index"
    with psycopg.connect(database, autocommit=True) as other:
        with using_messages(database), migrating_beside(database) as said:
            wait_until(lambda: other.execute(killed).fetchone(), "its connection is cut")
        assert "The connection was lost" in said[-1]
        assert other.execute(INDEX).fetchone() == (False,)
    migrate(database)
    with owner_connection(database) as connection:
        assert connection.scalar(text(INDEX)) is True
        assert current_revision(connection) == "next"


def test_what_a_killed_process_was_at_ends_soon(
    database: str, next_version: Next, next_folder: Path
) -> None:
    """Or it would go on, with its locks, for as long as it takes: here for ever."""
    next_version(BUILD_INDEX)
    command = [sys.executable, "-c", MIGRATE, database, str(next_folder)]
    with using_messages(database), psycopg.connect(database, autocommit=True) as other:
        process = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT)})
        building = "select count(*) from pg_stat_progress_create_index"
        wait_until(lambda: other.execute(building).fetchone() == (1,), "it is built")
        process.kill()
        process.wait(30)
        wait_until(lambda: other.execute(MIGRATING).fetchone() == (0,), "nobody migrates")
    migrate(database)
    with owner_connection(database) as connection:
        assert connection.scalar(text(INDEX)) is True


def test_who_migrates_is_waited_for_but_not_for_ever(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WAIT_FOR_OTHERS_SECONDS", 0.1)
    with migration_connection(database), pytest.raises(MigrationError, match="Another process"):
        migrate(database)


def test_limits_hold_in_a_migration_also_after_one_without(
    database: str, next_version: Next
) -> None:
    shown = "current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')"
    next_version(
        f'{BUILD_INDEX}; op.execute("alter table messages add column later text;'
        f"comment on column messages.later is 'x'\"); op.execute(\"do $$ begin execute"
        f" 'comment on column messages.later is ' || quote_literal({shown}); end $$\")"
    )
    migrate(database)
    with owner_connection(database) as connection:
        noted = "select col_description('messages'::regclass, (select max(attnum)"
        noted += " from pg_attribute where attrelid = 'messages'::regclass)::int)"
        assert connection.scalar(text(noted)) == "1s 1min"
