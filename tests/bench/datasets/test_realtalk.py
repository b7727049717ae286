"""What REALTALK files are read as."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.conversations import DatasetError
from bench.datasets.dates import read_date
from bench.datasets.reading import read_dataset
from tests.bench.entries import realtalk_chat, written

EIGHT = datetime(2023, 12, 29, 8, 0, 0, tzinfo=UTC)


def test_a_chat_is_a_conversation(tmp_path: Path) -> None:
    dataset = read_dataset(written(tmp_path / "Chat_1_Cy_Di.json", realtalk_chat()))
    assert dataset.format == "realtalk"
    (chat,) = dataset.conversations
    assert chat.name == "Chat_1_Cy_Di"
    assert [(turn.id, turn.conversation_id, turn.role, turn.content) for turn in chat.turns] == [
        ("D1:1", "session_1", "assistant", "Di: Did the parcel come?"),
        ("D1:2", "session_1", "user", "Cy: Yes, by bike."),
        ("D1:3", "session_1", "user", "Cy: It was wet."),
    ]
    (question,) = chat.questions
    assert question.category == "multi-hop"
    assert question.gold == {"D1:2"}


def test_turns_of_one_second_keep_their_order(tmp_path: Path) -> None:
    (chat,) = read_dataset(written(tmp_path / "chat.json", realtalk_chat())).conversations
    seven = EIGHT + timedelta(seconds=7)
    times = [turn.created_at for turn in chat.turns]
    assert times == [EIGHT, seven, seven + timedelta(milliseconds=1)]


def test_what_a_turn_lacks_is_taken_from_its_session(tmp_path: Path) -> None:
    turns: list[dict[str, Any]] = [
        {"speaker": "Di", "text": "Hello", "blip_caption": "a dog"},
        {"speaker": "Cy", "clean_text": "Hi", "blip_caption": ["ignored"]},
    ]
    chat = realtalk_chat(name=None, session_1=turns)
    (read,) = read_dataset(written(tmp_path / "chat.json", chat)).conversations
    assert [(turn.id, turn.role, turn.content, turn.created_at) for turn in read.turns] == [
        ("D1:1", "user", "Di: Hello [shares a photo: a dog]", EIGHT),
        ("D1:2", "assistant", "Cy: Hi", EIGHT + timedelta(seconds=1)),
    ]


def test_a_folder_has_a_chat_a_file(tmp_path: Path) -> None:
    for name in ("Chat_2", "Chat_1"):
        written(tmp_path / f"{name}.json", realtalk_chat())
    written(tmp_path / "Chat_3.json", realtalk_chat(qa=[]))
    dataset = read_dataset(tmp_path)
    assert [each.name for each in dataset.conversations] == ["Chat_1", "Chat_2"]
    assert dataset.notes == ["skipped 1 without a question that can be scored: Chat_3"]


@pytest.mark.parametrize(
    "value",
    [
        "29.12.2023, 08:00:00",
        " 29.12.2023, 08:00 ",
        "29/12/2023, 08:00:00",
        "8:00 am on 29 December, 2023",
        "2023/12/29 (Fri) 08:00",
        "2023-12-29T08:00:00",
        "2023-12-29T09:00:00+01:00",
    ],
)
def test_dates_are_read_in_several_forms(value: str) -> None:
    assert read_date(value) == EIGHT


def test_a_date_in_another_form_is_named() -> None:
    with pytest.raises(DatasetError, match=r"'yesterday at 8'"):
        read_date("yesterday at 8")
