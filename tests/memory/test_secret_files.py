"""Secrets in files: where they are read from, what hides what, and what a wrong file says."""

import os
from pathlib import Path

import pytest

from memory.errors import SettingsError
from memory.settings import SECRETS, file_variable, load_settings, unknown_settings, variable

URL = "postgresql://me:hunter2@db.example/memory"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{URL}\n")
    return path


@pytest.mark.parametrize("field", sorted(SECRETS))
def test_every_secret_may_stand_in_a_file(field: str, tmp_path: Path) -> None:
    value = {
        "flower_auth": "me:hunter2",
        "otel_exporter_otlp_endpoint": "http://collector:4318",
    }.get(field, URL if field.startswith("database") else "redis://:hunter2@host:6379/0")
    file = tmp_path / "secret"
    file.write_text(f" {value}\r\n\n")
    given = {file_variable(field): str(file)}
    assert load_settings(given) == load_settings({variable(field): value})
    assert load_settings(given) != load_settings({})
    assert unknown_settings(given) == {}


def test_a_file_is_for_secrets_only(secret: Path) -> None:
    given = {"MEMORY_API_PORT_FILE": str(secret), "MEMORY_API_KEY_FILE": str(secret)}
    assert unknown_settings(given) == {
        "MEMORY_API_PORT_FILE": "MEMORY_API_PORT",
        "MEMORY_API_KEY_FILE": "MEMORY_API_KEYS_FILE",
    }
    assert load_settings(given) == load_settings({})


def test_the_environment_hides_both_ways_of_the_dotenv_file(secret: Path) -> None:
    Path(".env").write_text(f"MEMORY_DATABASE_URL_FILE={secret}\nMEMORY_API_KEYS=one\n")
    assert load_settings({}).database_url == URL
    assert load_settings({"MEMORY_DATABASE_URL": "postgresql://h/db"}).database_url.endswith("h/db")
    (secret.parent / "keys").write_text("two")
    other = {"MEMORY_API_KEYS_FILE": str(secret.parent / "keys")}
    assert load_settings(other).operator_keys == {"two"}
    assert load_settings({"MEMORY_API_KEYS_FILE": ""}).operator_keys == {"one"}


def test_both_ways_at_once_end_the_start(secret: Path) -> None:
    given = {"MEMORY_REDIS_URL": "redis://:hunter2@h", "MEMORY_REDIS_URL_FILE": str(secret)}
    with pytest.raises(SettingsError, match=r"^MEMORY_REDIS_URL_FILE=.* is set too") as raised:
        load_settings(given)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"hunter2\nhunter2", b"hunter2\0", b"hunter2\xff", b"hunter2" * 10_000],
    ids=["empty", "blank", "two lines", "NUL", "no text", "long"],
)
def test_a_file_that_holds_no_secret_is_named_and_not_shown(content: bytes, secret: Path) -> None:
    secret.write_bytes(content)
    with pytest.raises(SettingsError, match=f"^MEMORY_API_KEYS_FILE='{secret}': ") as raised:
        load_settings({"MEMORY_API_KEYS_FILE": str(secret)})
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_value_in_a_file_is_not_shown(secret: Path) -> None:
    secret.write_text("host/hunter2")
    with pytest.raises(SettingsError, match=r"^MEMORY_DATABASE_URL") as raised:
        load_settings({"MEMORY_DATABASE_URL_FILE": str(secret)})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("path", ["/nowhere/at\nall", "/nowhere", "/", "a\0b", "/dev/zero", "pipe"])
def test_what_is_no_file_ends_the_start_at_once(path: str) -> None:
    os.mkfifo("pipe")
    with pytest.raises(SettingsError, match=r"^MEMORY_FLOWER_AUTH_FILE=") as raised:
        load_settings({"MEMORY_FLOWER_AUTH_FILE": path})
    assert "\n" not in str(raised.value)
