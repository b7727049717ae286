"""A migration that a version after this one could bring."""

from collections.abc import Callable
from pathlib import Path

import pytest

from db import revisions
from db.revisions import newest_revision

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
    folders = [*revisions.FOLDERS, next_folder]

    def make(upgrade: str, serves: str = before) -> str:
        values = {"revision": "next", "before": before, "upgrade": upgrade, "serves": serves}
        (next_folder / "next_version.py").write_text(FILE.format(**values))
        monkeypatch.setattr(revisions, "FOLDERS", folders)
        return "next"

    return make
