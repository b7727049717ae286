import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import COMMANDS, main


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, arguments, env=variables, catch_exceptions=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    result = run("api", MEMORY_API_PORT="many")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: MEMORY_API_PORT='many': ")
    assert len(result.stderr.splitlines()) == 1


def test_a_misspelt_setting_is_a_warning_with_the_nearest_name(place: Path) -> None:
    result = run("worker", MEMORY_DATABAS_URL="x", MEMORY_DATA_DIR=str(place))
    assert result.stderr.splitlines()[0] == (
        "Warning: MEMORY_DATABAS_URL is not a setting. Did you mean MEMORY_DATABASE_URL?"
    )


@pytest.mark.parametrize("command", ["worker", "beat", "flower"])
def test_without_a_queue_there_is_nothing_to_run(command: str) -> None:
    result = run(command, MEMORY_ASYNC_EMBEDDINGS="false")
    assert result.exit_code == 2
    assert "the API alone is the whole service" in result.stderr


def test_migrating_says_what_it_does(empty_database: str) -> None:
    first = run("migrate", MEMORY_DATABASE_URL=empty_database)
    assert first.exit_code == 0
    assert first.output.startswith("schema empty to ")
    assert run("migrate", MEMORY_DATABASE_URL=empty_database).output == (
        "The schema is up to date.\n"
    )


def test_migrating_a_database_that_is_away_is_one_line() -> None:
    result = run("migrate", MEMORY_DATABASE_URL="postgresql://me@127.0.0.1:1/x")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: The database cannot be migrated: connection failed")
    assert len(result.stderr.splitlines()) == 1


def test_the_command_line_loads_nothing_it_does_not_need() -> None:
    code = "import sys, cli.main; print([m for m in sys.modules if m in {'celery', 'litestar'}])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("script", ["aiml-api", "aiml-worker"])
def test_the_parts_have_commands_of_their_own(script: str, place: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(script)],
        env={"MEMORY_DATA_DIR": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "run `aiml up`" in done.stderr.replace("Run", "run")
