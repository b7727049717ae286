"""The queries that latency is measured on, and its percentiles."""

from itertools import islice

import pytest

from bench.conversations import Conversation, Question
from bench.latency import distinct_queries, percentile

GOLD = frozenset({"1"})


def conversation(*texts: str) -> Conversation:
    return Conversation("c", [], [Question(text, "plain", GOLD) for text in texts])


def test_a_query_gets_a_number_only_when_it_was_used_before() -> None:
    conversations = {"t": conversation("a?", "b?"), "u": conversation("a?")}
    queries = distinct_queries(conversations, {("t", "b?")})
    assert list(islice(queries, 7)) == [
        ("t", "a?"),
        ("t", "b? (1)"),
        ("u", "a?"),
        ("t", "a? (2)"),
        ("t", "b? (2)"),
        ("u", "a? (2)"),
        ("t", "a? (3)"),
    ]


def test_a_question_that_stands_twice_is_asked_once_a_round() -> None:
    queries = list(islice(distinct_queries({"t": conversation("a?", "a?")}, set()), 50))
    assert len(set(queries)) == len(queries) == 50


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 10), (0.95, 19), (0.951, 20), (1, 20), (0.01, 1)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile([*range(20, 0, -1)], share) == value


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.95) == 7.0
