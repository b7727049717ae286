"""What a LoCoMo file is read as."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.conversations import Question
from bench.datasets.reading import read_dataset
from tests.bench.entries import asked, locomo_sample, written


def test_turns_become_messages_in_the_order_of_the_sessions(tmp_path: Path) -> None:
    dataset = read_dataset(written(tmp_path / "trips.json", [locomo_sample()]))
    assert (dataset.name, dataset.format) == ("trips", "locomo")
    (conversation,) = dataset.conversations
    assert [
        (turn.id, turn.conversation_id, turn.role, turn.content) for turn in conversation.turns
    ] == [
        ("D2:1", "session_2", "user", "Ada: I bought a kayak."),
        ("D2:2", "session_2", "assistant", "Bo: Look! [shares a photo: a red canoe]"),
        ("D10:1", "session_10", "assistant", "Bo: The kayak is blue."),
    ]
    assert [turn.created_at for turn in conversation.turns] == [
        datetime(2023, 5, 8, 13, 56, 0, tzinfo=UTC),
        datetime(2023, 5, 8, 13, 56, 1, tzinfo=UTC),
        datetime(2024, 3, 3, 0, 5, 0, tzinfo=UTC),
    ]
    expected = Question("What colour has the kayak?", "single-hop", frozenset({"D10:1"}))
    assert conversation.questions == [expected]


@pytest.mark.parametrize(
    ("evidence", "gold"),
    [
        (["D2:1; D10:1"], {"D2:1", "D10:1"}),
        (["D2:1", "D", "D9:9"], {"D2:1"}),
        (["D10:01", "D02:2"], {"D10:1", "D2:2"}),
    ],
)
def test_evidence_is_read_as_the_files_write_it(
    tmp_path: Path, evidence: list[str], gold: set[str]
) -> None:
    sample = locomo_sample(qa=[asked("Which?", evidence)])
    (conversation,) = read_dataset(written(tmp_path / "d.json", [sample])).conversations
    assert [question.gold for question in conversation.questions] == [gold]


def test_questions_that_cannot_be_scored_are_dropped(tmp_path: Path) -> None:
    questions = [
        asked("multi?", ["D2:1"], 1),
        asked("when?", ["D2:1"], "2"),
        asked("open?", ["D2:1"], 3),
        asked("adversarial?", ["D2:1"], 5),
        asked("no evidence?", []),
        asked("unknown evidence?", ["D7:1"]),
        {"question": "no evidence at all?", "category": 4},
    ]
    (conversation,) = read_dataset(
        written(tmp_path / "d.json", [locomo_sample(qa=questions)])
    ).conversations
    assert [(each.text, each.category) for each in conversation.questions] == [
        ("multi?", "multi-hop"),
        ("when?", "temporal"),
        ("open?", "open"),
    ]
