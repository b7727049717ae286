"""The figures, against cases worked out by hand."""

import pytest

from bench.conversations import Question
from bench.figures import Answered, score, summarise


def answered(gold: str, *items: str, category: str = "plain") -> Answered:
    """A question and its answers: a letter a turn, a word an item."""
    return Answered(Question("?", category, frozenset(gold)), [frozenset(item) for item in items])


def test_one_gold_turn_at_rank_two() -> None:
    scored = score([answered("a", "x", "a", "y")])
    assert scored.questions == 1
    assert scored.hit == {1: 0, 3: 1, 5: 1, 10: 1}
    assert scored.recall == {5: 1, 10: 1, 20: 1}
    assert scored.mrr == 1 / 2


def test_several_gold_turns_count_by_share() -> None:
    places = ["x"] * 20
    places[0], places[6], places[15] = "a", "b", "c"
    scored = score([answered("abcd", *places)])
    assert scored.hit == {1: 1, 3: 1, 5: 1, 10: 1}
    assert scored.recall == {5: 1 / 4, 10: 2 / 4, 20: 3 / 4}
    assert scored.mrr == 1


def test_neighbours_count_for_their_item_and_twice_found_is_once_found() -> None:
    scored = score([answered("abc", "x", "xay", "xab")])
    assert scored.hit == {1: 0, 3: 1, 5: 1, 10: 1}
    assert scored.recall[5] == 2 / 3
    assert scored.mrr == 1 / 2


def test_beyond_the_depth_nothing_counts() -> None:
    scored = score([answered("a", *["x"] * 20, "a")])
    assert (scored.hit[10], scored.recall[20], scored.mrr) == (0, 0, 0)


def test_no_answer_is_a_miss() -> None:
    scored = score([answered("a")])
    assert (scored.hit[10], scored.recall[20], scored.mrr) == (0, 0, 0)


def test_figures_are_averaged_over_questions() -> None:
    scored = score([answered("a", "a"), answered("a", "x", "x", "x", "a"), answered("ab", "x")])
    assert scored.questions == 3
    assert scored.hit == {1: 1 / 3, 3: 1 / 3, 5: 2 / 3, 10: 2 / 3}
    assert scored.mrr == pytest.approx((1 + 1 / 4 + 0) / 3)


def test_groups_are_by_conversation_and_by_category() -> None:
    answers = {
        "one": [answered("a", "a", category="when"), answered("a", "x", category="who")],
        "two": [answered("a", "a", category="who")],
    }
    result = summarise("plain", {}, answers)
    assert result.overall.hit[1] == 2 / 3
    assert {name: each.hit[1] for name, each in result.by_conversation.items()} == {
        "one": 1 / 2,
        "two": 1,
    }
    assert {name: (each.questions, each.hit[1]) for name, each in result.by_category.items()} == {
        "when": (1, 1),
        "who": (2, 1 / 2),
    }
