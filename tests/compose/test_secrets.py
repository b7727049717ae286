"""The passwords and keys that docker/make-secrets makes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from memory.settings import load_settings
from tests.compose.reading import ROOT, read


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docker").mkdir()
    shutil.copy(ROOT / "docker" / "make-secrets", tmp_path / "docker")
    return tmp_path


def made(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "docker" / "make-secrets"],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_all_secrets_are_made_and_go_together(project: Path) -> None:
    done = made(project)
    assert done.returncode == 0, done.stderr
    folder = project / "secrets"
    used = {file.name for service in read().values() for file in service.secrets.values()}
    # That of a tunnel is given by who runs the tunnel.
    assert {path.name for path in folder.iterdir()} == used - {"tunnel_token"}
    values = {path.name: path.read_text().strip() for path in folder.iterdir()}
    assert len(set(values.values())) == len(values)
    assert f":{values['postgres_password']}@postgres:5432" in values["database_url"]
    assert f":{values['valkey_password']}@valkey:6379" in values["redis_url"]
    assert not any(value in done.stdout + done.stderr for value in values.values())
    names = ("database_url", "redis_url", "api_keys", "flower_auth")
    settings = load_settings({f"MEMORY_{name.upper()}_FILE": str(folder / name) for name in names})
    assert settings.operator_keys == {values["api_keys"]}


def test_others_on_the_machine_are_kept_out_and_containers_are_not(project: Path) -> None:
    made(project)
    assert (project / "secrets").stat().st_mode & 0o777 == 0o700
    for path in (project / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o444


def test_what_is_there_is_never_changed(project: Path) -> None:
    made(project)
    before = {path: path.read_text() for path in (project / "secrets").iterdir()}
    again = made(project)
    assert again.returncode == 1
    assert "nothing was changed" in again.stderr
    assert {path: path.read_text() for path in (project / "secrets").iterdir()} == before


def test_what_an_interrupted_run_has_left_is_no_obstacle(project: Path) -> None:
    (project / "secrets.new").mkdir()
    (project / "secrets.new" / "api_keys").write_text("half")
    assert made(project).returncode == 0
    assert sorted(path.name for path in project.iterdir()) == ["docker", "secrets"]
    assert len((project / "secrets" / "api_keys").read_text().strip()) == 48


def test_git_and_the_build_never_see_them() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/secrets/", "/secrets.new/", "/memory.env"} <= set(ignored)
