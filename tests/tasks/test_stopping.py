"""How a worker that is told to stop sees to it that its tasks end."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from billiard.pool import Worker
from celery.worker import state

from memory.settings import Settings
from tasks import ending, stopping
from tests.processes import wait_until

# Tells what it hears, and does not end by it.
PATIENT = (
    "import signal, time;"
    "signal.signal(signal.SIGUSR1, lambda *_: print('interrupted', flush=True));"
    "print('ready', flush=True); time.sleep(60); time.sleep(60)"
)


class Left(Exception):  # noqa: N818 - it stands for an end
    """The worker would have ended here."""


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A process in the place of one of the pool, with a task."""
    process = subprocess.Popen([sys.executable, "-c", PATIENT], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    request = SimpleNamespace(worker_pid=process.pid, name="embed_messages")
    monkeypatch.setattr(state, "active_requests", [request, SimpleNamespace(worker_pid=None)])
    monkeypatch.setattr(stopping, "GIVE_BACK_SECONDS", 0.2)
    monkeypatch.setattr(stopping.HURRIED, "wait", lambda _: None)
    with process:
        yield process
        process.kill()


def test_who_does_not_heed_is_killed_and_the_worker_ends(
    at_work: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(stopping.os, "_exit", leave)
    with pytest.raises(Left, match="1"):
        stopping.see_to_the_end(60)
    assert at_work.stdout
    assert at_work.stdout.readline() == "interrupted\n"
    assert at_work.wait(10) == -signal.SIGKILL


def test_told_twice_it_hurries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "TOLD", bytearray(1))
    begun: list[float] = []
    monkeypatch.setattr(stopping, "see_to_the_end", begun.append)
    app = SimpleNamespace(resources=SimpleNamespace(settings=Settings()))
    monkeypatch.setattr(stopping, "celery", SimpleNamespace(current_app=app))
    try:
        stopping.begin_to_end()
        wait_until(lambda: begun, "the first has begun the end")
        assert ending.ending()
        assert not stopping.HURRIED.is_set()
        stopping.begin_to_end()
        assert stopping.HURRIED.is_set()
        assert len(begun) == 1
    finally:
        stopping.HURRIED.clear()


def test_a_process_does_not_wait_long_for_word_that_is_lost() -> None:
    unheard = SimpleNamespace(on_ready_counter=SimpleNamespace(value=0))
    began = time.monotonic()
    assert not Worker._ensure_messages_consumed(unheard, completed=1)
    assert time.monotonic() - began < 10
