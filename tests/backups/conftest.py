"""A store of several tenants, and a backup of it."""

from pathlib import Path

import pytest

from tasks.backing_up import back_up
from tests.backups.storing import Watched, fill


@pytest.fixture
def filled(database: str) -> str:
    """The URL of a store that holds something in each kind of table."""
    fill(database)
    return database


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """The folder of backups, which is not there yet."""
    return tmp_path / "backups"


@pytest.fixture
def backup(filled: str, backups: Path) -> Path:
    """A backup of the store that was not tried."""
    return backups / back_up(filled, backups, Watched(), verify=False).file
