"""Files that are of no format, or wrong in theirs: one line that names what is wrong."""

from pathlib import Path
from typing import Any

import pytest

from bench.conversations import DatasetError
from bench.datasets.reading import Format, read_dataset
from tests.bench.entries import asked, locomo_sample, longmemeval_instance, realtalk_chat, written


def without(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


def session_of(**changes: Any) -> dict[str, Any]:
    conversation = {**locomo_sample()["conversation"], **changes}
    return locomo_sample(conversation=conversation)


WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a number": (7, ("Expected `object | array`, got `int`",)),
    "an empty list": ([], ("none of locomo, realtalk, longmemeval",)),
    "an empty object": ({}, ("none of locomo, realtalk, longmemeval",)),
    "a list of numbers": ([1], ("none of locomo, realtalk, longmemeval",)),
    "other entries": ([{"text": "?"}], ("none of locomo, realtalk, longmemeval",)),
    "no name": ([locomo_sample(), without(locomo_sample(), "sample_id")], ("entry 1", "sample_id")),
    "no sessions": ([locomo_sample(conversation={})], ("entry 0", "session_1")),
    "a turn without text": (
        [session_of(session_2=[{"speaker": "Ada", "dia_id": "D2:1"}])],
        ("entry 0", "session_2", "`text`"),
    ),
    "no date": ([session_of(session_2_date_time=None)], ("entry 0", "session_2_date_time")),
    "an odd date": (
        [session_of(session_2_date_time="noon")],
        ("entry 0", "session_2_date_time", "'noon'"),
    ),
    "no question": ([locomo_sample(qa=[asked("?", [])])], ("no question names a turn",)),
    "an odd chat date": (
        realtalk_chat(session_1=[{"speaker": "Di", "clean_text": "?", "date_time": "today"}]),
        ("session_1, turn 1", "'today'"),
    ),
    "an odd qa": (realtalk_chat(qa=[{"question": 1}]), ("qa: ",)),
    "no haystack dates": (
        [without(longmemeval_instance(), "haystack_dates")],
        ("entry 0", "haystack_dates"),
    ),
    "too few haystack dates": (
        [longmemeval_instance(haystack_dates=["2023/05/20"])],
        ("entry 0", "haystack lists differ"),
    ),
    "an odd role": (
        [longmemeval_instance(haystack_sessions=[[{"role": "robot", "content": "?"}], []])],
        ("entry 0", "robot"),
    ),
}


@pytest.mark.parametrize(("content", "named"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, named: tuple[str, ...]) -> None:
    with pytest.raises(DatasetError) as caught:
        read_dataset(written(tmp_path / "data.json", content))
    message = str(caught.value)
    assert message.startswith("data.json: ")
    assert "\n" not in message
    for part in named:
        assert part in message


@pytest.mark.parametrize("content", [b"", b"[{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    for form in (None, "locomo", "realtalk", "longmemeval"):
        with pytest.raises(DatasetError, match=r"^data\.json: [^\n]+$"):
            read_dataset(path, form)


def test_a_folder_without_chats_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \.json file"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("stated", ["realtalk", "longmemeval"])
def test_a_stated_format_is_believed(tmp_path: Path, stated: Format) -> None:
    with pytest.raises(DatasetError):
        read_dataset(written(tmp_path / "data.json", [locomo_sample()]), stated)
