"""`aiml backup` and `aiml restore`, as an operator calls them."""

import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from memory.settings import Settings
from tests.backups.storing import everything, fill
from tests.workers import environment


def aiml(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env={"PATH": "/usr/bin:/bin", **environment(settings)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_there_and_back(settings: Settings, empty_database: str, tmp_path: Path) -> None:
    fill(settings.database_url)
    before = everything(settings.database_url)
    made = aiml(settings, "backup", "--to", str(tmp_path / "backups"), "--keep", "3")
    assert (made.returncode, made.stderr) == (0, "")
    (file,) = (tmp_path / "backups").glob("*.dump")
    said = r"51 messages, 3 tenants, [\d,]+ bytes, [\d.]+ s, verified"
    assert re.fullmatch(rf"{re.escape(str(file))}: {said}", made.stdout.strip())
    with psycopg.connect(settings.database_url) as connection:
        jobs = connection.execute("select kind, state, started_by from jobs").fetchall()
    assert jobs == [("backup", "completed", "aiml")]

    refused = aiml(settings, "restore", str(file))
    assert refused.returncode == 2
    assert "holds 51 messages, 3 tenants, 1 keys. --overwrite" in refused.stderr
    there = aiml(settings, "restore", str(file), "--to", empty_database)
    assert (there.returncode, there.stderr) == (0, "")
    assert there.stdout.startswith("Restored, as it was at 20")
    assert everything(empty_database) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backup"], "--to FOLDER, or MEMORY_BACKUP_DIR"),
        (["restore", "nothing.dump"], "nothing.dump is not there"),
        (["restore", "pyproject.toml", "--to", "mysql://x/y"], "--to: expected postgresql://"),
        (["restore", "pyproject.toml"], "has no manifest"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    settings: Settings, arguments: list[str], said: str
) -> None:
    done = aiml(settings, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
