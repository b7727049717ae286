"""What `aiml watch` is told: where to look, how often, and with which key."""

from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from cli.main import main
from cli.watch import own
from cli.watching.pages import Address
from memory.errors import SettingsError
from memory.settings import Settings
from tests.cli.test_watch import ONCE, run, url_of
from tests.conftest import serving

KEY = "an-operators-key-that-is-long-enough"


def test_the_first_key_of_the_settings_opens_a_page_that_is_not_for_all(
    settings: Settings, measured: None
) -> None:
    keys = {"MEMORY_METRICS_PUBLIC": "false", "MEMORY_API_KEYS": f"{KEY}, another"}
    private = msgspec.structs.replace(settings, metrics_public=False, api_keys=KEY)
    with serving(private) as api:
        assert run("--api", url_of(api), *ONCE, **keys).exit_code == 0
        without = run("--api", url_of(api), *ONCE)
        assert without.exit_code == 1
        assert "wants a key" in without.stdout


def test_a_key_comes_from_a_file_or_from_the_standard_input(
    settings: Settings, measured: None, tmp_path: Any
) -> None:
    private = msgspec.structs.replace(settings, metrics_public=False, api_keys=KEY)
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    with serving(private) as api:
        assert run("--api", url_of(api), "--key-file", str(file), *ONCE).exit_code == 0
        command = ["watch", "--api", url_of(api), "--key-file", "-", *ONCE]
        assert CliRunner().invoke(main, command, input=KEY).exit_code == 0
    file.write_text("\n")
    refused = run("--key-file", str(file), *ONCE)
    assert refused.exit_code == 2
    assert "its first line is to be a key" in refused.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8000", "an address is such as"),
        ("ftp://127.0.0.1", "an address is such as"),
        ("http://", "an address is such as"),
        ("http://127.0.0.1:many", "that is no address"),
        ("http://me:secret@127.0.0.1", "see --key-file"),
        ("http://127.0.0.1/?key=secret", "see --key-file"),
    ],
)
def test_what_is_no_address_is_refused(url: str, said: str) -> None:
    result = run("--api", url, "--once")
    assert result.exit_code == 2
    assert said in result.stderr
    assert "secret" not in result.stderr.replace("a secret", "")


@pytest.mark.parametrize("interval", ["0", "nan", "-1", "inf"])
def test_an_interval_is_a_time(interval: str) -> None:
    assert run("--interval", interval, "--once").exit_code == 2


def test_where_the_processes_are_is_in_the_settings() -> None:
    assert own(Settings(api_host="0.0.0.0", metrics_host="::1", worker_metrics_port=91)) == [
        Address("api", "http://127.0.0.1:8000/metrics"),
        Address("worker", "http://[::1]:91/metrics"),
        Address("beat", "http://[::1]:9102/metrics"),
    ]
    assert [each.part for each in own(Settings(async_embeddings=False))] == ["api"]
    assert [each.part for each in own(Settings(beat_metrics_port=0))] == ["api", "worker"]
    with pytest.raises(SettingsError, match="no metrics"):
        own(Settings(metrics_enabled=False))
