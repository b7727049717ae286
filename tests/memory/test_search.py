"""The ranking: its formula, its ties and its bounds."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.search import Candidate, candidate_count, rank

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHARE = st.floats(0, 1)


def candidate(similarity: float, importance: float = 0.5, created_at: datetime = NOON) -> Candidate:
    return Candidate(
        message_id=uuid4(),
        conversation_id="c",
        role="user",
        content="hello",
        metadata={"a": 1},
        importance=importance,
        created_at=created_at,
        similarity=similarity,
    )


def order(*candidates: Candidate, top_k: int = 100) -> list[UUID]:
    return [hit.message_id for hit in rank(candidates, top_k).items]


@pytest.mark.parametrize(
    ("similarity", "importance", "score"),
    [(1, 1, 1), (1, 0, 0.7), (0, 1, 0.3), (0.5, 0.5, 0.5), (0.8, 0.45, 0.695)],
)
def test_the_score_is_the_documented_sum(
    similarity: float, importance: float, score: float
) -> None:
    (hit,) = rank([candidate(similarity, importance)], 1).items
    assert hit.score == pytest.approx(score, abs=1e-12)
    assert (hit.similarity, hit.importance) == (similarity, importance)


def test_a_hit_is_its_candidate() -> None:
    found = candidate(0.5)
    (hit,) = rank([found], 1).items
    for field in ("message_id", "conversation_id", "role", "content", "metadata", "created_at"):
        assert getattr(hit, field) == getattr(found, field)


def test_importance_lifts_what_is_nearly_as_similar() -> None:
    near, important = candidate(0.8, 0.5), candidate(0.75, 0.9)
    assert order(near, important) == [important.message_id, near.message_id]


def test_importance_does_not_lift_what_is_not_similar() -> None:
    near, important = candidate(0.9, 0.4), candidate(0.4, 1.0)
    assert order(important, near) == [near.message_id, important.message_id]


def test_the_newer_comes_first_on_a_tie() -> None:
    old, new = candidate(0.5, created_at=NOON - timedelta(days=1)), candidate(0.5)
    assert order(old, new) == order(new, old) == [new.message_id, old.message_id]


@pytest.mark.parametrize(("cosine", "similarity"), [(-0.3, 0.0), (1.0004, 1.0)])
def test_similarity_stays_a_share(cosine: float, similarity: float) -> None:
    (hit,) = rank([candidate(cosine)], 1).items
    assert hit.similarity == similarity


def test_no_more_than_asked_for_and_total_says_how_many() -> None:
    candidates = [candidate(share / 10) for share in range(10)]
    answer = rank(candidates, 3)
    assert answer.total == len(answer.items) == 3
    assert rank(candidates[:2], 3).total == 2
    assert rank([], 3).total == 0


@given(st.lists(st.tuples(SHARE, SHARE)), st.integers(1, 100))
def test_the_best_come_first_whatever_is_found(
    shares: list[tuple[float, float]], top_k: int
) -> None:
    answer = rank([candidate(*each) for each in shares], top_k)
    scores = [hit.score for hit in answer.items]
    expected = sorted((0.7 * near + 0.3 * weight for near, weight in shares), reverse=True)
    assert scores == expected[:top_k]
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize(
    ("top_k", "candidates"), [(1, 50), (5, 50), (12, 50), (13, 52), (100, 400)]
)
def test_more_is_ranked_than_is_answered(top_k: int, candidates: int) -> None:
    assert candidate_count(top_k) == candidates
