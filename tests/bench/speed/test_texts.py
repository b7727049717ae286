"""What is said and asked."""

from pathlib import Path

from bench.speed.texts import made, texts
from tests.bench.entries import asked, locomo_sample, written


def test_made_sentences_are_many_and_all_distinct() -> None:
    found = made()
    for each in (found.messages, found.questions):
        assert len(each) == len(set(each)) >= 800
        assert not any(mark in text for text in each for mark in "{}|")
    assert found == made()


def test_those_of_a_file_are_taken_word_for_word(tmp_path: Path) -> None:
    sample = locomo_sample("one", qa=[asked("Who has a kayak?", ["D2:1"])])
    found = texts(written(tmp_path / "kayaks.json", [sample]))
    assert "Who has a kayak?" in found.questions
    assert any("kayak" in text for text in found.messages)
