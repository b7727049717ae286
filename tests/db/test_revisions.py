"""What is said of the schema without alembic is what alembic says."""

from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory

from db import migrating, revisions
from db.revisions import is_newest, known_revisions


def test_the_revisions_are_those_of_alembic() -> None:
    scripts = ScriptDirectory.from_config(migrating._configuration())
    assert known_revisions() == [script.revision for script in scripts.walk_revisions()]


def test_a_folder_that_is_no_chain_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for revision, before in (("1", "None"), ("3", '"2"')):
        text = f'revision = "{revision}"\ndown_revision = {before}\n'
        (tmp_path / f"{revision}.py").write_text(text)
    monkeypatch.setattr(revisions, "FOLDERS", [tmp_path])
    with pytest.raises(KeyError):
        known_revisions()


def test_a_database_is_at_the_newest_one_or_is_not(database: str) -> None:
    assert is_newest(database)
    with psycopg.connect(database) as connection:
        connection.execute("update alembic_version set version_num = '0001'")
    assert not is_newest(database)
    with psycopg.connect(database) as connection:
        connection.execute("drop table alembic_version")
    assert not is_newest(database)
    assert not is_newest(database.rpartition("/")[0] + "/there_is_none")
