"""Asking a running `aiml up` for a restart, by files."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import control
from cli.control import ASKED, Answer, Requests, ask, one_at_a_time
from cli.errors import StartError
from cli.lock import FolderLock
from tests.processes import wait_until

Answering = Callable[[Answer], None]


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[FolderLock]:
    with FolderLock(tmp_path) as held:
        yield held


def answering(requests: Requests, answer: Answering) -> threading.Thread:
    """A thread in the place of the supervisor, for one request."""

    def run() -> None:
        found: list[Answer] = []
        wait_until(lambda: found.append(given) if (given := requests.next()) else found, "asked")
        answer(found[0])

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_what_is_said_is_heard_to_the_end(tmp_path: Path, lock: FolderLock) -> None:
    requests = Requests(tmp_path)

    def done(answer: Answer) -> None:
        for line in ("one", "two"):
            answer.say(line)
        answer.end()

    for _ in range(2):
        thread = answering(requests, done)
        heard: list[str] = []
        ask(tmp_path, heard.append)
        thread.join()
        assert heard == ["one", "two"]


def test_a_failure_is_raised_with_its_reason(tmp_path: Path, lock: FolderLock) -> None:
    thread = answering(Requests(tmp_path), lambda answer: answer.end("no key is set"))
    with pytest.raises(StartError, match="no key is set"):
        ask(tmp_path, lambda _: None)
    thread.join()


def test_nobody_to_ask_and_nobody_who_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.1)
    with pytest.raises(StartError, match=f"No `aiml up` runs on {tmp_path}"):
        ask(tmp_path, lambda _: None)
    with FolderLock(tmp_path), pytest.raises(StartError, match="does not answer"):
        ask(tmp_path, lambda _: None)
    # Nobody is to find it later.
    assert not (tmp_path / ASKED).exists()


def test_who_ends_in_the_middle_is_not_waited_for(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with lock:

        def leave(answer: Answer) -> None:
            answer.say("one")
            lock.__exit__(None, None, None)

        thread = answering(Requests(tmp_path), leave)
        with pytest.raises(StartError, match="has ended before it was done"):
            ask(tmp_path, lambda _: None)
        thread.join()


def test_two_do_not_ask_at_once(tmp_path: Path, lock: FolderLock) -> None:
    with one_at_a_time(tmp_path), pytest.raises(StartError, match="Another `aiml restart`"):
        ask(tmp_path, lambda _: None)


def test_what_was_asked_of_another_start_is_forgotten(tmp_path: Path, lock: FolderLock) -> None:
    (tmp_path / ASKED).write_text("of old")
    assert Requests(tmp_path).next() is None
