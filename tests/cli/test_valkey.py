import os
import signal
from pathlib import Path

import psutil
import pytest
import redis

from cli.errors import StartError
from cli.leftovers import wait_gone
from cli.valkey import EmbeddedValkey
from tests.processes import wait_until


def test_data_password_and_port_survive_a_restart(place: Path) -> None:
    with EmbeddedValkey(place) as server:
        url, pid = server.url, server.pid
        with redis.Redis.from_url(url) as client:
            client.set("kept", "it")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert pid is not None
    assert not psutil.pid_exists(pid)
    with EmbeddedValkey(place) as server:
        assert server.url == url
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"it"


def test_the_password_is_needed_and_nowhere_to_be_read(place: Path) -> None:
    with EmbeddedValkey(place) as server:
        password = (place / "valkey.password").read_text()
        wrong = server.url.replace(password, "wrong")
        with redis.Redis.from_url(wrong) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        assert password not in " ".join(psutil.Process(server.pid).cmdline())
        assert (place / "valkey.conf").stat().st_mode & 0o777 == 0o600


def test_a_killed_server_and_an_orphan_lose_nothing_that_was_written_out(place: Path) -> None:
    first = EmbeddedValkey(place)
    first.start()
    with redis.Redis.from_url(first.url) as client:
        client.set("kept", "it")
        client.execute_command("WAITAOF", 1, 0, 5000)
    os.kill(first.pid or 0, signal.SIGKILL)
    wait_until(lambda: first.pid is None, "the server is gone")
    second = EmbeddedValkey(place)
    second.start()
    # Not stopped: an orphan, as after a kill -9 of the process that started it.
    orphan = psutil.Process(second.pid)
    with EmbeddedValkey(place) as server:
        assert server.url == first.url
        assert wait_gone([orphan], 0) == []
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"it"
    first.stop()
    second.stop()


def test_a_folder_with_a_blank_and_quotes_in_its_name_will_do(place: Path) -> None:
    with EmbeddedValkey(place / 'my "memory" folder') as server:
        assert server.pid


def test_a_given_port_that_is_busy_is_named(place: Path, busy_port: int) -> None:
    with pytest.raises(StartError, match=f"Port {busy_port} is in use"):
        EmbeddedValkey(place, port=busy_port).start()
