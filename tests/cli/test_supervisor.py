import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli.child import Child
from cli.errors import StartError
from cli.leftovers import end, marked, wait_gone
from cli.part import Program
from cli.supervisor import LONGEST_DELAY_SECONDS, Supervisor, Watched
from tests.processes import wait_until

SLEEP = "import time; time.sleep(60)"
# Ends on SIGTERM in order, and says so.
ORDERLY = (
    "import os, signal, sys, time;"
    "bye = lambda: open(os.environ['ORDER'], 'a').write(os.environ['NAME'] + ' ');"
    "signal.signal(signal.SIGTERM, lambda *_: (bye(), sys.exit()));"
    "print('ready', flush=True); time.sleep(60)"
)
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(60)"
)
PARENT = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print('child', child.pid, flush=True); time.sleep(60)"
)


class Parts:
    """Fake parts, and what the supervisor said about them."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.said: list[str] = []
        self.supervisor = Supervisor(self.said.append, first_delay=0.05)
        self.programs: dict[str, Program] = {}

    def add(self, name: str, code: str, stop_seconds: float = 10.0, **variables: str) -> Child:
        environment = {**os.environ, **variables}
        command = [sys.executable, "-c", code]
        self.programs[name] = Program(name, command, self.logs, environment, stop_seconds)
        self.supervisor.add(self.programs[name])
        return self.child(name)

    def beside(self, name: str, code: str) -> Program:
        """A program to take the place of another."""
        command = [sys.executable, "-c", code]
        ready = self.logs / f"{name}.ready"
        return Program(name, command, self.logs, os.environ, ready=ready)

    def replace(self, name: str, new: Program, seconds: float = 30) -> None:
        old = self.programs[name]
        self.supervisor.replace(old, new, seconds, lambda: None, signal.SIGTERM)
        self.programs[name] = new

    def child(self, name: str) -> Child:
        child = self.programs[name].child
        assert child is not None
        return child

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text()

    def watch_until(self, condition: Callable[[], object], what: str) -> None:
        def checked() -> object:
            self.supervisor.check()
            return condition()

        wait_until(checked, what)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


@pytest.fixture(autouse=True)
def stop_all(parts: Parts) -> object:
    yield
    parts.supervisor.stop(lambda: True)


def test_a_part_that_was_killed_is_named_and_started_again(parts: Parts) -> None:
    first = parts.add("worker", SLEEP)
    parts.supervisor.check()
    os.kill(first.pid, signal.SIGKILL)
    parts.watch_until(lambda: len(parts.said) == 2, "it runs again")
    again = parts.child("worker")
    assert again.pid != first.pid
    assert parts.said == [
        "worker was killed by SIGKILL; it starts again in 0.05 s",
        f"worker runs again (process {again.pid})",
    ]


def test_the_delay_doubles_with_each_failure(parts: Parts) -> None:
    parts.add("beat", "raise SystemExit(7)")
    parts.watch_until(lambda: len(parts.said) >= 7, "it has failed four times")
    assert parts.said[0::2][:4] == [
        f"beat ended with exit code 7; it starts again in {delay} s"
        for delay in ("0.05", "0.1", "0.2", "0.4")
    ]


def test_the_delay_has_an_end_and_a_steady_part_begins_anew(parts: Parts) -> None:
    parts.add("beat", SLEEP)
    watched: Watched = parts.supervisor._watched[0]
    watched.failures = 50
    os.kill(parts.child("beat").pid, signal.SIGKILL)
    parts.watch_until(lambda: parts.said, "the death is noted")
    assert parts.said[-1].endswith(f"it starts again in {LONGEST_DELAY_SECONDS:g} s")
    watched.due = time.monotonic()
    parts.watch_until(lambda: parts.said[-1].startswith("beat runs again"), "it runs again")
    parts.child("beat").started -= 3600
    os.kill(parts.child("beat").pid, signal.SIGKILL)
    parts.watch_until(lambda: "killed" in parts.said[-1], "the death is noted")
    assert parts.said[-1].endswith("it starts again in 0.05 s")


def test_a_part_that_cannot_start_again_is_tried_later(parts: Parts, tmp_path: Path) -> None:
    parts.add("api", SLEEP)
    parts.programs["api"]._command = [str(tmp_path / "gone")]
    os.kill(parts.child("api").pid, signal.SIGKILL)
    parts.watch_until(lambda: any("could not start" in line for line in parts.said), "it fails")
    parts.programs["api"]._command = [sys.executable, "-c", SLEEP]
    parts.watch_until(lambda: "runs again" in parts.said[-1], "it runs again")


def test_children_of_a_killed_part_die_with_it(parts: Parts) -> None:
    parent = parts.add("worker", PARENT)
    wait_until(lambda: "child" in parts.log("worker"), "it has a child")
    child = psutil.Process(int(parts.log("worker").split()[1]))
    os.kill(parent.pid, signal.SIGKILL)
    parts.watch_until(lambda: parts.said, "the death is noted")
    assert wait_gone([child], 5) == []


def test_parts_are_stopped_in_order_the_last_first(parts: Parts, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("worker", "api", "beat"):
        parts.add(name, ORDERLY, NAME=name, ORDER=str(order))
        wait_until(lambda name=name: "ready" in parts.log(name), "it listens")  # type: ignore[misc]
    pids = [program.child.pid for program in parts.programs.values() if program.child]
    parts.supervisor.stop()
    assert order.read_text().split() == ["beat", "api", "worker"]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_deaf_part_is_killed_after_its_time(parts: Parts) -> None:
    child = parts.add("worker", DEAF, stop_seconds=0.2)
    wait_until(lambda: "ready" in parts.log("worker"), "it runs")
    parts.supervisor.stop()
    assert child.exit_code == -signal.SIGKILL


def test_a_hurried_stop_does_not_wait(parts: Parts) -> None:
    child = parts.add("worker", DEAF, stop_seconds=60)
    wait_until(lambda: "ready" in parts.log("worker"), "it runs")
    began = time.monotonic()
    parts.supervisor.stop(lambda: True)
    assert time.monotonic() - began < 30
    assert child.exit_code == -signal.SIGKILL


def test_a_part_that_ends_at_the_start_is_quoted(parts: Parts) -> None:
    child = parts.add("api", "print('of old')")
    child.wait(10)
    child.clear()
    parts = Parts(parts.logs)
    parts.add("api", "import sys; print('no key is set'); sys.exit(2)").wait(10)
    with pytest.raises(StartError, match="api ended with exit code 2") as raised:
        parts.supervisor.check_started()
    assert str(raised.value).endswith("\nno key is set")
    assert "of old" not in str(raised.value)


def test_marked_processes_are_found_with_their_children(parts: Parts) -> None:
    parent = parts.add("worker", PARENT, AIML_INSTANCE="of-this-test")
    wait_until(lambda: "child" in parts.log("worker"), "it has a child")
    child = int(parts.log("worker").split()[1])
    found = marked("AIML_INSTANCE", "of-this-test")
    assert {process.pid for process in found} == {parent.pid, child}
    assert marked("AIML_INSTANCE", "of-another") == []
    end(found, signal.SIGTERM, 5)
    assert not psutil.pid_exists(child) or wait_gone([psutil.Process(child)], 5) == []


# Says that it is at work.
WORKING = (
    "import os, pathlib, time; pathlib.Path(os.environ['AIML_READY_FILE']).touch(); time.sleep(60)"
)
SUCCEEDS = f"import os; assert os.environ['AIML_SUCCESSOR']; {WORKING}"


def test_one_takes_the_place_of_another_and_is_watched_then(parts: Parts) -> None:
    old = parts.add("api", SLEEP)
    parts.replace("api", parts.beside("api", SUCCEEDS))
    assert old.exit_code == -signal.SIGTERM
    new = parts.child("api")
    assert new.exit_code is None
    os.kill(new.pid, signal.SIGKILL)
    parts.watch_until(lambda: parts.said, "its death is noted")


@pytest.mark.parametrize(
    ("code", "why"),
    [("print('no key is set'); raise SystemExit(2)", "no key is set"), (SLEEP, "not ready within")],
)
def test_who_cannot_take_the_place_changes_nothing(parts: Parts, code: str, why: str) -> None:
    old = parts.add("api", SLEEP)
    new = parts.beside("api", code)
    with pytest.raises(StartError, match=why):
        parts.replace("api", new, 30 if "Exit" in code else 0.3)
    assert old.exit_code is None
    assert new.child
    assert new.child.exit_code is not None
    parts.supervisor.stop()
    assert old.exit_code is not None


def test_the_others_are_seen_to_meanwhile(parts: Parts) -> None:
    parts.add("api", SLEEP)
    worker = parts.add("worker", SLEEP)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(StartError):
        parts.replace("api", parts.beside("api", SLEEP), 1.0)
    assert any(line.startswith("worker was killed") for line in parts.said)


def test_a_stop_in_the_middle_ends_both(parts: Parts) -> None:
    class Enough(Exception):  # noqa: N818 - a signal
        """Somebody asks for the end."""

    def pulse() -> None:
        raise Enough

    old, new = parts.add("api", SLEEP), parts.beside("api", SLEEP)
    with pytest.raises(Enough):
        parts.supervisor.replace(parts.programs["api"], new, 30, pulse, signal.SIGTERM)
    beside = new.child
    assert beside
    parts.supervisor.stop()
    assert old.exit_code is not None
    assert beside.exit_code is not None


def test_a_part_that_cannot_be_made_anew_is_tried_later(parts: Parts, tmp_path: Path) -> None:
    parts.add("beat", SLEEP)
    parts.programs["beat"]._command = [str(tmp_path / "gone")]
    with pytest.raises(OSError, match="No such file"):
        parts.supervisor.renew(parts.programs["beat"], 10, lambda: None)
    parts.programs["beat"]._command = [sys.executable, "-c", SLEEP]
    parts.watch_until(lambda: any("runs again" in line for line in parts.said), "it runs")


def test_a_part_is_made_anew(parts: Parts) -> None:
    old = parts.add("beat", SLEEP)
    parts.supervisor.renew(parts.programs["beat"], 10, lambda: None)
    assert old.exit_code == -signal.SIGTERM
    assert parts.child("beat").pid != old.pid
