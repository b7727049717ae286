"""`aiml up` itself, with all its parts."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from cli.up import BEYOND_SECONDS, INSTANCE
from memory.settings import Settings
from tasks.configuration import BEAT_LOCK_SECONDS, BEAT_LOOP_SECONDS
from tests.ports import free_port
from tests.processes import wait_until

Start = Callable[..., "Up"]
READY_SECONDS = 60
PARTS = ("api", "worker", "beat", "flower")
UNLIMITED = ("MEMORY_GLOBAL_RATE_LIMIT", "MEMORY_TENANT_RATE_LIMIT")
# What is said of processes that did not end with theirs, and of a database that was not shut down.
LEFT = "processes that an earlier start left"
RECOVERY = "was not properly shut down"
ACCEPTS = "database system is ready to accept connections"
# What the API has to end in, when nobody hurries it.
API_SECONDS = (
    Settings().api_drain_seconds
    + Settings().api_keep_alive_seconds
    + Settings().api_stop_seconds
    + BEYOND_SECONDS
)
# A lock that nobody holds any more lasts so long, and a beat that is started again waits for it.
TAKEN_OVER = BEAT_LOCK_SECONDS + BEAT_LOOP_SECONDS + 10


class Up:
    """A running `aiml up`, and what it has printed."""

    def __init__(self, place: Path, variables: dict[str, str]) -> None:
        self.data = place / "data"
        self.output = place / "output"
        environment = {"MEMORY_DATA_DIR": str(self.data), "PATH": os.environ["PATH"], **variables}
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up"],
                cwd=place,
                env=environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_said(self, text: str) -> None:
        wait_until(
            lambda: text in self.said or self.process.poll() is not None, text, READY_SECONDS
        )
        assert text in self.said, self.said

    def wait_ready(self) -> float:
        """Seconds that the start took."""
        self.wait_said("Ctrl-C stops everything.")
        return float(re.findall(r"Ready after ([\d.]+) s", self.said)[-1])

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def processes(self) -> dict[int, str]:
        """What runs for this data folder, by id."""
        with contextlib.suppress(FileNotFoundError):
            instance = (self.data / "instance").read_text()
            return {
                process.pid: " ".join(process.cmdline())
                for process in psutil.process_iter()
                if belongs(process, instance, self.data)
            }
        return {}

    def pid_of(self, part: str) -> int:
        """The process of a part, not those that it has forked."""
        pids = {pid for pid, line in self.processes().items() if line.endswith(f"cli.main {part}")}
        return next(pid for pid in pids if psutil.Process(pid).ppid() not in pids)


def belongs(process: psutil.Process, instance: str, data: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        if process.status() != psutil.STATUS_ZOMBIE:
            in_folder = process.cwd().startswith(f"{data}/")
            return in_folder or process.environ().get(INSTANCE) == instance
    return False


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts an `aiml up` on one folder and ports of its own; ends what is left of it."""
    ports = {"MEMORY_API_PORT": str(free_port()), "MEMORY_FLOWER_PORT": str(free_port())}
    started: list[Up] = []

    def begin(**variables: str) -> Up:
        started.append(Up(place, {**ports, **variables}))
        return started[-1]

    yield begin
    for up in started:
        up.process.kill()
        up.process.wait()
        for pid in up.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


def pasted(up: Up) -> str:
    lines = [line for line in up.said.splitlines() if line.startswith("curl")]
    done = subprocess.run(
        ["sh", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_all_of_it(start: Start) -> None:
    up = start()
    up.wait_ready()
    assert {up.pid_of(part) for part in ("api", "worker", "beat", "flower")}
    assert '"total":1,"items":[{"message_id":' in pasted(up)

    worker = up.pid_of("worker")
    os.kill(worker, signal.SIGKILL)
    up.wait_said("worker was killed by SIGKILL; it starts again in 0.5 s")
    up.wait_said("worker runs again")
    assert up.pid_of("worker") != worker

    postgres = next(pid for pid, line in up.processes().items() if "bin/postgres -D" in line)
    os.kill(postgres, signal.SIGKILL)
    up.wait_said("postgres runs again")
    log = up.data / "logs" / "postgres.log"
    # One that is stopped before has to begin again with it.
    wait_until(lambda: log.read_text().count(ACCEPTS) == 2, "postgres has recovered", READY_SECONDS)

    assert up.end(signal.SIGTERM) == 0
    assert up.processes() == {}
    assert up.said.endswith("All stopped; the data stays where it is.\n")
    assert log.read_text().count(RECOVERY) == 1  # after the kill above

    again = start()
    again.wait_ready()
    # It finds nothing to clear away: the first has ended in order, with all its parts.
    assert log.read_text().count(RECOVERY) == 1
    assert LEFT not in again.said
    assert '"total":2' in pasted(again)
    logs = {path.name for path in (again.data / "logs").iterdir()}
    assert logs >= {"api.log", "worker.log", "beat.log", "flower.log", "postgres.log"}

    second = start()
    assert second.process.wait(60) == 2
    assert second.said == (
        f"Error: The data folder {again.data} is in use by process {again.process.pid}: stop that"
        " one first, or set MEMORY_DATA_DIR to another folder.\n"
    )
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(60) == 0
    assert again.processes() == {}


def test_what_a_killed_supervisor_leaves_is_no_obstacle(start: Start) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="mock")
    up.wait_ready()
    pasted(up)
    # A worker that died just before leaves children that nobody waits for.
    os.kill(up.process.pid, signal.SIGSTOP)
    os.kill(up.pid_of("worker"), signal.SIGKILL)
    up.end(signal.SIGKILL)
    orphans = up.processes()
    assert any(line.endswith("cli.main api") for line in orphans.values())
    again = start(MEMORY_EMBEDDING_PROVIDER="mock")
    again.wait_ready()
    assert LEFT in again.said
    assert not orphans.keys() & again.processes().keys()
    assert '"total":2' in pasted(again)
    assert again.end(signal.SIGTERM) == 0
    assert again.processes() == {}


def test_beat_goes_on_when_its_redis_was_killed_and_when_it_was_emptied(start: Start) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="mock", MEMORY_SWEEP_INTERVAL_SECONDS="1")
    up.wait_ready()
    log = up.data / "logs" / "beat.log"

    def sends_again() -> None:
        before = log.read_text().count("Sending due task")
        wait_until(
            lambda: log.read_text().count("Sending due task") > before, "beat sends", TAKEN_OVER
        )

    sends_again()
    os.kill(next(pid for pid, line in up.processes().items() if "valkey" in line), signal.SIGKILL)
    up.wait_said("valkey runs again")
    sends_again()
    password = (up.data / "valkey.password").read_text().strip()
    port = int((up.data / "valkey.port").read_text())
    with redis.Redis(port=port, password=password) as client:
        client.flushall()
    up.wait_said("beat ended with exit code 1")
    sends_again()
    assert up.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["Starting the embedded", "Bringing the", "Starting worker"])
def test_a_signal_during_the_start_ends_it(start: Start, number: int, moment: str) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="mock")
    up.wait_said(moment)
    assert up.end(number) == 0
    assert up.processes() == {}
    assert "Traceback" not in up.said


def test_a_second_interrupt_hurries(start: Start) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="mock")
    up.wait_ready()
    # Stopped, it cannot end in order.
    os.kill(up.pid_of("api"), signal.SIGSTOP)
    up.process.send_signal(signal.SIGINT)
    up.wait_said("Stopping ...")
    began = time.monotonic()
    assert up.end(signal.SIGINT) == 0
    assert time.monotonic() - began < API_SECONDS
    assert up.processes() == {}


def test_without_a_queue_the_api_is_all(start: Start) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="mock", MEMORY_ASYNC_EMBEDDINGS="false")
    up.wait_ready()
    lines = " ".join(up.processes().values())
    assert "cli.main api" in lines
    assert "cli.main worker" not in lines
    assert "valkey" not in lines
    assert '"total":1' in pasted(up)
    assert up.end(signal.SIGTERM) == 0


def test_own_servers_are_used(start: Start, database: str, valkey: object, place: Path) -> None:
    (place / "database_url").write_text(f"{database}\n")
    up = start(
        MEMORY_EMBEDDING_PROVIDER="mock",
        MEMORY_DATABASE_URL_FILE=str(place / "database_url"),
        MEMORY_REDIS_URL=valkey.url,  # type: ignore[attr-defined]
    )
    up.wait_ready()
    assert not (up.data / "postgres").exists()
    assert not (up.data / "valkey").exists()
    assert '"total":1' in pasted(up)
    assert up.end(signal.SIGTERM) == 0


def test_a_busy_port_is_one_line_before_anything_starts(start: Start, busy_port: int) -> None:
    for name in ("MEMORY_API_PORT", "MEMORY_FLOWER_PORT"):
        up = start(**{name: str(busy_port)})
        assert up.process.wait(60) == 2
        assert up.said.startswith(f"Error: Port {busy_port} on 127.0.0.1 is in use")
        assert f"set {name}." in up.said
        assert len(up.said.splitlines()) == 1
        assert not (up.data / "postgres").exists()


def test_a_missing_key_is_quoted_from_the_part_that_missed_it(start: Start) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="openai")
    assert up.process.wait(60) == 2
    assert "MEMORY_OPENAI_API_KEY is not set" in up.said
    assert "Traceback" not in up.said
    assert up.processes() == {}


def test_keys_are_asked_for_but_not_shown(start: Start) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="mock", MEMORY_API_KEYS="hush")
    up.wait_ready()
    assert "hush" not in up.said
    port = re.findall(r"http://127.0.0.1:(\d+)/docs", up.said)[0]
    answer = httpx.get(
        f"http://127.0.0.1:{port}/v1/memory/search?tenant_id=demo&query=x", timeout=60
    )
    assert answer.status_code == 401
    assert up.end(signal.SIGTERM) == 0


def restarted(up: Up) -> subprocess.CompletedProcess[str]:
    """What `aiml restart` has to say of it."""
    environment = {"MEMORY_DATA_DIR": str(up.data), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "cli.main", "restart"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def ready(connection: http.client.HTTPConnection) -> int:
    """What readiness answers."""
    connection.request("GET", "/v1/admin/readiness")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def ready_at(port: int) -> int:
    """The same, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        return ready(connection)
    finally:
        connection.close()


def test_a_restart_without_a_pause(start: Start) -> None:
    up = start(MEMORY_EMBEDDING_PROVIDER="mock", **dict.fromkeys(UNLIMITED, ""))
    up.wait_ready()
    (port,) = re.findall(r"http://127.0.0.1:(\d+)/docs", up.said)
    heard: list[int] = []
    done = threading.Event()

    def ask() -> None:
        kept = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        while not done.wait(0.05):
            heard.extend((ready(kept), ready_at(int(port))))
        kept.close()

    before = {part: up.pid_of(part) for part in PARTS}
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as at_last:
        at_last.callback(done.set)
        asking = pool.submit(ask)
        said = restarted(up)
        assert said.returncode == 0, said.stderr
        assert re.findall(r"^(\w+) is new", said.stdout, re.MULTILINE) == list(PARTS)
        after = {part: up.pid_of(part) for part in PARTS}
        assert not set(before.values()) & up.processes().keys()

        (up.data.parent / ".env").write_text("MEMORY_W_RELEVANCE=much\n")
        refused = restarted(up)
        assert refused.returncode == 2
        assert "MEMORY_W_RELEVANCE='much'" in refused.stderr
        assert {part: up.pid_of(part) for part in PARTS} == after
        (up.data.parent / ".env").unlink()
    asking.result()
    assert set(heard) == {200}
    # Who comes while there is nobody waits for the next.
    os.kill(after["api"], signal.SIGKILL)
    assert ready_at(int(port)) == 200
    assert up.end(signal.SIGTERM) == 0
    assert up.processes() == {}
