"""The code of the oldest version that the newest migration says it serves, from the history."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from db import migrating

ROOT = Path(__file__).parent.parent
# What a version runs of; its tests and pages are not wanted.
PARTS = ("api", "beat_schedule.py", "cli", "db", "memory", "migrations", "tasks")


def older_version(folder: Path) -> Path:
    """A folder with that code; skips the test where the history does not reach so far."""
    added = f"migrations/versions/{first_not_known()}"
    found = git("log", "--no-renames", "--diff-filter=A", "--format=%H", "-1", "--", added)
    commit = found.decode().strip()
    if not commit:
        pytest.skip(f"NO OLDER VERSION: {added} is not in the history")
    archive = git("archive", f"{commit}^", *PARTS)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def first_not_known() -> str:
    """The file of the first migration that this older version does not know."""
    scripts = ScriptDirectory.from_config(migrating._configuration())
    newest, *older = scripts.walk_revisions()
    served = newest.module.serves_from
    if served == newest.revision:
        pytest.skip(f"NO OLDER VERSION: {newest.revision} serves none before it")
    following = newest
    for script in older:
        if script.revision == served:
            break
        following = script
    return Path(following.path).name


def git(*arguments: str) -> bytes:
    """What git says of the project; skips the test where it has no history to show."""
    try:
        done = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, *arguments],
            capture_output=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"NO OLDER VERSION: git {arguments[0]}: {error}")
    return done.stdout
