"""An older version on a newer schema: served as far as the schema says so."""

import subprocess
import sys

import psycopg
import pytest
from alembic.script import ScriptDirectory

from db import migrating
from db.migrating import migrate
from db.revisions import known_revisions
from db.schema import check_schema, owner_connection
from memory.errors import VersionOutdatedError
from memory.settings import Settings
from tests.db.next_version import ADD_COLUMN, Next, next_folder, next_version
from tests.workers import environment

__all__ = ["next_folder", "next_version"]  # fixtures


def test_each_migration_says_whom_it_serves_and_none_takes_back_more() -> None:
    scripts = ScriptDirectory.from_config(migrating._configuration())
    order = known_revisions()[::-1]
    before = 0
    for place, revision in enumerate(order):
        script = scripts.get_revision(revision)
        assert script is not None
        served = order.index(script.module.serves_from)
        assert before <= served <= place, f"{revision} serves from {script.module.serves_from}"
        before = served


def test_a_version_before_the_schema_is_served(
    database: str, next_version: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_version(ADD_COLUMN)
    migrate(database)
    monkeypatch.undo()
    said: list[str] = []
    with owner_connection(database) as connection:
        check_schema(connection)
    # As its container does when an upgrade is rolled back.
    migrate(database, said.append)
    assert said == [
        f"schema next is newer than this version's {known_revisions()[0]}, and serves it"
    ]


def test_a_version_that_is_too_old_is_refused_with_the_reason(
    database: str, next_version: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_version(ADD_COLUMN, serves="next")
    migrate(database)
    monkeypatch.undo()
    with (
        owner_connection(database) as connection,
        pytest.raises(VersionOutdatedError, match="serves versions of schema next or later"),
    ):
        check_schema(connection)
    with pytest.raises(VersionOutdatedError):
        migrate(database)


def test_a_newer_schema_that_says_nothing_is_not_trusted(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("update alembic_version set version_num = 'next'")
        connection.execute("comment on table alembic_version is null")
    with owner_connection(database) as connection, pytest.raises(VersionOutdatedError):
        check_schema(connection)


@pytest.mark.parametrize("part", ["api", "worker"])
def test_a_process_that_is_too_old_ends_at_its_start(settings: Settings, part: str) -> None:
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("update alembic_version set version_num = 'next'")
        connection.execute("comment on table alembic_version is 'serves versions of schema next'")
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", part],
        env=environment(settings) | {"MEMORY_API_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "start a newer version" in done.stdout + done.stderr
