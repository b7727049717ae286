"""What is written is true: settings, endpoints and commands are documented, README code runs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import dotenv
import httpx
import pytest
from pytest_celery import CeleryTestWorker

from cli.main import main
from db.revisions import known_revisions
from memory.settings import SECRETS, Settings, load_settings, variable
from tests.processes import wait_until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def written(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def defaults() -> dict[str, str]:
    fields = zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True)
    return {variable(field): written(default) for field, default in fields}


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `((?:MEMORY|OTEL)_\w+)` \| (.*?) \|", page, re.MULTILINE))
    assert rows.keys() == defaults().keys()
    for name, default in defaults().items():
        if default:
            assert rows[name] == f"`{default}`", name


def test_every_secret_is_named_that_may_stand_in_a_file() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    (said,) = re.findall(r"This goes for (.*?)\. Blanks", page, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) == set(map(variable, SECRETS))


def test_the_example_has_every_setting_with_its_default(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text()
    uncommented = tmp_path / "env"
    uncommented.write_text(re.sub(r"^# ((?:MEMORY|OTEL)_\w+=)", r"\1", lines, flags=re.MULTILINE))
    assert dict(dotenv.dotenv_values(uncommented)) == defaults()
    assert load_settings({}, uncommented) == Settings()


def test_every_endpoint_is_documented(api: httpx.Client) -> None:
    paths = api.get("/docs/openapi.json").json()["paths"]
    page = (ROOT / "docs" / "api.md").read_text()
    documented = set(re.findall(r"^\| `(\w+ /\S+)` \|", page, re.MULTILINE))
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert documented - {"GET /metrics"} == served


def test_every_migration_is_documented() -> None:
    page = (ROOT / "docs" / "upgrades.md").read_text()
    rows = re.findall(r"^\| (\d{4}(?:, \d{4})*) \|", page, re.MULTILINE)
    assert sorted(", ".join(rows).split(", ")) == known_revisions()[::-1]


def test_every_command_is_documented() -> None:
    assert isinstance(main, click.Group)
    page = (ROOT / "docs" / "running.md").read_text()
    for name in main.list_commands(click.Context(main)):
        assert f"aiml {name}" in page or f"aiml-{name}" in page, name


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 150


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            if not urlsplit(target).scheme:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def blocks(language: str) -> Iterator[str]:
    return (block for block in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL))


@pytest.fixture
def here(api: httpx.Client, worker: CeleryTestWorker) -> str:
    """Where the service of this test is, for the README's 127.0.0.1:8000."""
    return str(api.base_url).rstrip("/")


def test_the_readmes_code_runs(api: httpx.Client, here: str) -> None:
    curls = [block for block in blocks("sh") if block.startswith("curl")]
    assert len(curls) == 2

    def run(*command: str) -> str:
        shell = [part.replace("http://127.0.0.1:8000", here) for part in command]
        return subprocess.run(shell, capture_output=True, text=True, timeout=30, check=True).stdout

    assert '"embedding_status":"pending"' in run("sh", "-c", curls[0])
    wait_until(lambda: "Lisbon" in run("sh", "-c", curls[1]), "the README's message is found")
    (program,) = blocks("python")
    assert "flight to Lisbon" in run(sys.executable, "-c", program)


def test_the_readmes_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
