"""Hits with what stands around them: each message once, each hit with its score."""

from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from memory.passages import merge
from memory.search import Hit, Neighbour

START = datetime(2026, 1, 1, tzinfo=UTC)
LENGTH = 12


class Spoken(NamedTuple):
    """A message: its conversation, a letter, and its place there, 0 to `LENGTH - 1`."""

    conversation: str
    place: int

    @property
    def id(self) -> UUID:
        """Ids descend from second to second, and ascend within one."""
        return UUID(int=ord(self.conversation) * 1000 - self.place // 2 * 2 + self.place % 2)

    @property
    def at(self) -> datetime:
        """Two messages share each second."""
        return START + timedelta(seconds=self.place // 2)


def hit(spoken: Spoken, score: float) -> Hit:
    return Hit(
        message_id=spoken.id,
        conversation_id=spoken.conversation,
        role="user",
        content=str(spoken.place),
        metadata={},
        score=score,
        similarity=0.5,
        relevance=0.5,
        importance=0.5,
        recency=0.5,
        created_at=spoken.at,
    )


def window(spoken: Spoken, reach: int) -> list[Spoken]:
    """The message and up to `reach` either side of it."""
    around = range(max(0, spoken.place - reach), min(LENGTH, spoken.place + reach + 1))
    return [Spoken(spoken.conversation, place) for place in around]


def neighbours(spoken: Spoken, reach: int) -> list[Neighbour]:
    return [
        Neighbour(message_id=near.id, role="user", content=str(near.place), created_at=near.at)
        for near in window(spoken, reach)
    ]


def merged(
    hits: list[Spoken], reach: int, top_k: int = 10, deleted: tuple[Spoken, ...] = ()
) -> list[Hit]:
    """`hits` merged; the first has score 1, each other a sixteenth less."""
    windows = {each.id: neighbours(each, reach) for each in hits if each not in deleted}
    scored = [hit(each, 1 - place / 16) for place, each in enumerate(hits)]
    return merge(scored, windows, top_k)


def shown(passage: Hit) -> str:
    """A passage as its places, the best hit in brackets, each other hit with its score."""
    around = [
        [near.content + (f":{near.score}" if near.score is not UNSET else "") for near in side]
        for side in (passage.before or [], passage.after or [])
    ]
    return " ".join([*around[0], f"[{passage.content}]", *around[1]])


def c(*places: int) -> list[Spoken]:
    return [Spoken("c", place) for place in places]


@pytest.mark.parametrize(
    ("hits", "reach", "passages"),
    [
        (c(5), 1, ["4 [5] 6"]),
        (c(0), 2, ["[0] 1 2"]),
        (c(11), 2, ["9 10 [11]"]),
        (c(5, 6), 1, ["4 [5] 6:0.9375 7"]),
        (c(6, 5), 1, ["4 5:0.9375 [6] 7"]),
        (c(5, 7), 1, ["4 [5] 6 7:0.9375 8"]),
        (c(5, 8), 1, ["4 [5] 6", "7 [8] 9"]),
        (c(8, 5), 1, ["7 [8] 9", "4 [5] 6"]),
        (c(1, 9, 5), 2, ["0 [1] 2 3 4 5:0.875 6 7 8 9:0.9375 10 11"]),
        (c(9, 1, 5), 2, ["0 1:0.9375 2 3 4 5:0.875 6 7 8 [9] 10 11"]),
        (c(1, 3, 9, 7, 5), 1, ["0 [1] 2 3:0.9375 4 5:0.75 6 7:0.8125 8 9:0.875 10"]),
    ],
)
def test_a_hit_joins_a_passage_that_it_overlaps(
    hits: list[Spoken], reach: int, passages: list[str]
) -> None:
    assert [shown(passage) for passage in merged(hits, reach)] == passages


def test_a_passage_is_of_one_conversation() -> None:
    found = merged([Spoken("a", 5), Spoken("b", 5)], 2)
    assert [passage.conversation_id for passage in found] == ["a", "b"]


def test_the_next_hit_takes_the_place_of_one_that_was_merged() -> None:
    assert [shown(each) for each in merged(c(1, 2, 8, 5), 0, 2)] == ["[1]", "[2]"]
    assert [shown(each) for each in merged(c(1, 2, 8, 5), 1, 2)] == ["0 [1] 2:0.9375 3", "7 [8] 9"]


def test_a_bridge_makes_room_for_another() -> None:
    found = merged([*c(1, 5, 3), Spoken("d", 4), Spoken("e", 4)], 1, 2)
    assert [shown(each) for each in found] == ["0 [1] 2 3:0.875 4 5:0.9375 6", "3 [4] 5"]
    assert found[1].conversation_id == "d"


def test_a_hit_that_was_deleted_meanwhile_is_left_out() -> None:
    found = merged(c(1, 5, 9), 1, 2, deleted=(Spoken("c", 5),))
    assert [shown(each) for each in found] == ["0 [1] 2", "8 [9] 10"]


def test_nothing_found_is_nothing() -> None:
    assert merged([], 3) == []


def test_the_best_hit_of_a_passage_keeps_its_figures() -> None:
    (passage,) = merged(c(5, 6), 1)
    assert (passage.score, passage.relevance, passage.message_id) == (1, 0.5, c(5)[0].id)


class Expected(NamedTuple):
    """A passage: the hits in it, best first, and all its messages."""

    hits: list[Spoken]
    messages: set[Spoken]


def expected(hits: list[Spoken], reach: int, top_k: int) -> list[Expected]:
    """The passages, built from pairs of overlapping windows anew for each hit that comes."""
    passages: list[Expected] = []
    for number in range(1, len(hits) + 1):
        parts = [Expected([each], set(window(each, reach))) for each in hits[:number]]
        while pair := next(
            ((a, b) for a, b in combinations(parts, 2) if a.messages & b.messages), None
        ):
            first, other = pair
            parts.remove(other)
            at = parts.index(first)
            parts[at] = Expected(
                sorted(first.hits + other.hits, key=hits.index), first.messages | other.messages
            )
        if len(parts) > top_k:
            break
        passages = parts
    return passages


SPOKEN = st.builds(Spoken, st.sampled_from("ab"), st.integers(0, LENGTH - 1))


@given(st.lists(SPOKEN, unique=True), st.integers(0, 4), st.integers(1, 5))
def test_any_hits_become_passages_of_which_none_overlap(
    hits: list[Spoken], reach: int, top_k: int
) -> None:
    found = merged(hits, reach, top_k)
    scores = {each.id: 1 - place / 16 for place, each in enumerate(hits)}
    wanted = expected(hits, reach, top_k)
    assert [passage.message_id for passage in found] == [each.hits[0].id for each in wanted]
    for passage, each in zip(found, wanted, strict=True):
        assert passage.score == scores[passage.message_id]
        around = [*(passage.before or []), *(passage.after or [])]
        places = [int(near.content) for near in passage.before or []]
        places += [int(passage.content), *(int(near.content) for near in passage.after or [])]
        assert places == sorted(spoken.place for spoken in each.messages)
        told = {near.message_id: near.score for near in around if near.score is not UNSET}
        assert told == {lesser.id: scores[lesser.id] for lesser in each.hits[1:]}


@given(st.lists(SPOKEN, unique=True), st.integers(0, 4), st.integers(1, 5))
def test_no_message_is_answered_twice(hits: list[Spoken], reach: int, top_k: int) -> None:
    ids = [message for passage in merged(hits, reach, top_k) for message in passage.message_ids()]
    assert len(ids) == len(set(ids))


@given(st.lists(SPOKEN, unique=True, min_size=1), st.integers(0, 4))
def test_with_room_for_all_no_hit_is_lost(hits: list[Spoken], reach: int) -> None:
    found = merged(hits, reach, len(hits))
    assert {each.id for each in hits} <= {id_ for each in found for id_ in each.message_ids()}
    assert [each.score for each in found] == sorted((e.score for e in found), reverse=True)
