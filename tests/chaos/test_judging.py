"""Which answers are a fault's doing."""

import time

import pytest

from bench.chaos import judging
from bench.chaos.judging import NOTHING, Excuse, Windows, fault_of, latest_seconds
from bench.connection import Answer

STORED = frozenset({202})
PROBLEM = {"content-type": "application/problem+json"}
CLEAR = PROBLEM | {"retry-after": "1"}
ALL: frozenset[Excuse] = frozenset({"no answer", "503", "late", "degraded"})


@pytest.mark.parametrize(
    ("outcome", "excused", "wrong"),
    [
        (Answer(202), NOTHING, ""),
        ("ConnectionResetError", NOTHING, "no answer (ConnectionResetError)"),
        ("ConnectionResetError", frozenset({"no answer"}), ""),
        ("ConnectionResetError", frozenset({"503"}), "no answer (ConnectionResetError)"),
        (Answer(503, CLEAR), frozenset({"503"}), ""),
        (Answer(503, CLEAR), NOTHING, "a 503 without a cause: b''"),
        (Answer(503, PROBLEM), ALL, f"a 503 that is not clear: {PROBLEM} b''"),
        (Answer(503, {}), ALL, "a 503 that is not clear: {} b''"),
        (Answer(500, CLEAR), ALL, "status 500: b''"),
        (Answer(200), ALL, "status 200: b''"),
    ],
)
def test_an_answer(
    outcome: Answer | str, excused: frozenset[Excuse], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "burden", lambda: 1.0)
    assert fault_of(outcome, STORED, 0.1, excused) == wrong


def test_a_machine_that_does_much_else_may_be_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "burden", lambda: 3.0)
    assert fault_of(Answer(503, CLEAR), STORED, 5.1, NOTHING) == ""
    assert fault_of(Answer(500, CLEAR), STORED, 5.1, NOTHING).startswith("status 500")


def test_a_late_answer_is_wrong_but_from_one_that_was_stopped() -> None:
    late = latest_seconds() + 60
    assert fault_of(Answer(202), STORED, late, NOTHING).startswith("an answer after")
    assert fault_of(Answer(202), STORED, late, frozenset({"late"})) == ""


def test_a_fault_excuses_what_it_met_and_nothing_before_or_after() -> None:
    windows = Windows()
    window = windows.open("api killed", frozenset({"no answer"}))
    began = window.began
    window.ended = began + 5
    assert windows.excuses(began - 2, began - 1) == NOTHING
    assert windows.excuses(began - 1, began + 1) == {"no answer"}
    assert windows.excuses(began + 4, began + 9) == {"no answer"}
    assert windows.excuses(began + 6, began + 7) == NOTHING


def test_faults_at_the_same_time_excuse_what_each_does() -> None:
    windows = Windows()
    windows.open("api killed", frozenset({"no answer"}))
    windows.open("postgres killed", frozenset({"503"}))
    now = time.monotonic()
    assert windows.excuses(now, now) == {"no answer", "503"}


def test_a_provider_is_left_alone_for_a_while_afterwards() -> None:
    windows = Windows()
    window = windows.open("provider slow", frozenset({"degraded", "503"}))
    window.ended = window.began
    assert windows.excuses(window.ended + 20, window.ended + 21) == {"degraded"}
    assert windows.excuses(window.ended + 60, window.ended + 61) == NOTHING


def test_where_a_search_would_be_degraded_one_by_meaning_alone_is_a_503() -> None:
    windows = Windows()
    window = windows.open("provider answers 500", frozenset({"degraded"}))
    window.ended = window.began
    after = window.ended + 20, window.ended + 21
    assert windows.excuses(*after, "/v1/memory/search?query=a&mode=semantic") >= {"503"}
    assert windows.excuses(*after, "/v1/memory/search?query=a&mode=hybrid") == {"degraded"}
    later = window.ended + 60, window.ended + 61
    assert windows.excuses(*later, "/v1/memory/search?query=a&mode=semantic") == NOTHING
