"""A migration that a version after this one could bring."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.config import Config

import migrations
from db import migrating
from db.migrating import newest_revision

# Given what its `upgrade` does, and whom it serves.
Next = Callable[..., str]
ADD_COLUMN = 'op.execute("alter table messages add column later text")'
BUILD_INDEX = 'build_index("messages_later", "messages (tenant_id, conversation_id, id)")'

FILE = """
from alembic import op

from migrations.online import build_index, validate_constraint

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None
serves_from = "{serves}"


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    pass
"""


def knowing(configuration: Callable[[], Config], folder: Path) -> Callable[[], Config]:
    """The configuration of a version that has the migrations in `folder`, too."""
    own = Path(migrations.__file__).parent / "versions"

    def configured() -> Config:
        found = configuration()
        found.set_main_option("path_separator", "os")
        found.set_main_option("version_locations", f"{own}{os.pathsep}{folder}")
        return found

    return configured


@pytest.fixture
def next_folder(tmp_path: Path) -> Path:
    """Where the migration of the next version lies."""
    folder = tmp_path / "versions"
    folder.mkdir()
    return folder


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch, next_folder: Path) -> Next:
    """Makes this process a version with one migration more, and names its revision."""
    before = newest_revision()
    configured = knowing(migrating._configuration, next_folder)

    def make(upgrade: str, serves: str = before) -> str:
        values = {"revision": "next", "before": before, "upgrade": upgrade, "serves": serves}
        (next_folder / "next_version.py").write_text(FILE.format(**values))
        monkeypatch.setattr(migrating, "_configuration", configured)
        return "next"

    return make
