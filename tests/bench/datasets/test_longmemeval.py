"""What a LongMemEval file is read as."""

from datetime import UTC, datetime
from pathlib import Path

from bench.conversations import Question
from bench.datasets.reading import read_dataset
from tests.bench.entries import longmemeval_instance, written


def test_an_instance_is_a_conversation_with_one_question(tmp_path: Path) -> None:
    dataset = read_dataset(written(tmp_path / "d.json", [longmemeval_instance()]))
    assert dataset.format == "longmemeval"
    (instance,) = dataset.conversations
    assert [
        (turn.id, turn.conversation_id, turn.role, turn.content) for turn in instance.turns
    ] == [
        ("1:0", "noise", "user", "Name a lake."),
        ("1:1", "noise", "assistant", "Como."),
        ("2:0", "answer", "user", "I only drink mint tea."),
        ("2:2", "answer", "assistant", "Noted."),
    ]
    assert instance.turns[-1].created_at == datetime(2023, 5, 21, 14, 5, 2, tzinfo=UTC)
    expected = Question("Which tea do I drink?", "single-session-user", frozenset({"2:0"}))
    assert list(instance.questions) == [expected]


def test_instances_without_an_answer_are_skipped_and_counted(tmp_path: Path) -> None:
    silent = [[{"role": "user", "content": "Hello."}]] * 2
    entries = [
        longmemeval_instance("q1_abs"),
        longmemeval_instance("q2", haystack_sessions=silent),
        longmemeval_instance("q3"),
    ]
    dataset = read_dataset(written(tmp_path / "d.json", entries))
    assert [each.name for each in dataset.conversations] == ["q3"]
    assert dataset.notes == ["skipped 2 without a question that can be scored: q1_abs, q2"]


def test_a_session_that_stands_twice_is_two_conversations(tmp_path: Path) -> None:
    instance = longmemeval_instance(haystack_session_ids=["same", "same"])
    (read,) = read_dataset(written(tmp_path / "d.json", [instance])).conversations
    assert {turn.conversation_id for turn in read.turns} == {"same", "same#2"}
    assert len({turn.id for turn in read.turns}) == len(read.turns)


def test_a_limit_counts_what_is_kept_and_leaves_the_rest_unread(tmp_path: Path) -> None:
    entries = [
        longmemeval_instance("q1_abs"),
        longmemeval_instance("q2"),
        longmemeval_instance("q3"),
        {"haystack_sessions": "not read"},
    ]
    dataset = read_dataset(written(tmp_path / "d.json", entries), limit=2)
    assert [each.name for each in dataset.conversations] == ["q2", "q3"]
