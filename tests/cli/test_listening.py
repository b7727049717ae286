"""Sockets that outlive the API: ours, and systemd's."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cli.errors import StartError
from cli.listening import COUNT, FOR_PROCESS, PASSED, heard_on, inherited, listening, passed_on
from memory.settings import Settings
from tests.processes import wait_until
from tests.workers import environment

# What systemd does before it runs a service: the socket is the third descriptor.
AS_SYSTEMD = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3);"
    "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
    "os.execv(sys.executable, [sys.executable, '-m', 'cli.main', 'api'])"
)


def test_what_is_passed_on_is_taken_over_and_its_name_taken_away() -> None:
    (listener,) = listening("127.0.0.1", 0)
    with listener:
        environ = passed_on([listener])
        assert environ == {PASSED: str(listener.fileno())}
        environ[PASSED] = str(os.dup(listener.fileno()))
        (taken,) = inherited(environ)
        with taken:
            assert environ == {}
            assert taken.getsockname() == listener.getsockname()
            assert not taken.get_inheritable()


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    environ = {COUNT: "1", FOR_PROCESS: str(os.getpid() + 1)}
    assert inherited(environ) == []
    assert environ == {}
    assert inherited({}) == []


def test_what_is_no_socket_that_listens_is_refused(tmp_path: Path) -> None:
    silent, path = socket.socket(), socket.socket(socket.AF_UNIX)
    path.bind(str(tmp_path / "socket"))
    path.listen()
    for found in (silent, path):
        with pytest.raises(StartError, match="is no TCP socket that listens"):
            inherited({PASSED: str(os.dup(found.fileno()))})
        found.close()
    with (tmp_path / "file").open("w") as file, pytest.raises(StartError, match="descriptor"):
        inherited({PASSED: str(file.fileno())})


def test_each_address_of_a_name_is_listened_on() -> None:
    found = listening("localhost", 0)
    assert {each.getsockname()[0] for each in found} <= {"127.0.0.1", "::1"}
    for each in found:
        each.close()


def test_a_socket_that_all_can_reach_makes_no_open_door() -> None:
    near, far = listening("127.0.0.1", 0), listening("0.0.0.0", 0)
    assert heard_on(Settings(), near).api_host == "127.0.0.1"
    assert heard_on(Settings(), [*near, *far]).api_host == "0.0.0.0"
    assert heard_on(Settings(api_host="::1"), []).api_host == "::1"
    for each in (*near, *far):
        each.close()


def test_as_systemd_does_it_the_socket_outlives_the_service(
    settings: Settings, tmp_path: Path
) -> None:
    (listener,) = listening("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with listener, (tmp_path / "log").open("wb") as log:
        number = listener.fileno()
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", AS_SYSTEMD, str(number)],
                env={**os.environ, **environment(settings)},
                pass_fds=[number],
                stdout=log,
                stderr=log,
            )
            try:
                # It waits until there is somebody.
                assert httpx.get(f"{url}/v1/admin/live", timeout=60).status_code == 200
                process.send_signal(signal.SIGTERM)
                wait_until(lambda: process.poll() is not None, "it has ended")  # noqa: B023
                assert process.returncode == 0
            finally:
                process.kill()
                process.wait()
