"""The ranking: its formula, its ties and its bounds."""

import math
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memory.ranking import (
    CONTEXT_SHARE,
    HALF_OF_RAREST,
    SEMANTIC_SHARE,
    SEMANTIC_WEIGHTS,
    Ranked,
    candidate_count,
    clipped,
    hit,
    lexical_score,
    rank,
    relevance,
    weights_of,
)
from memory.recency import recency
from memory.search import Candidate, Weights
from memory.settings import Settings
from memory.tenants import Effective, TenantSettings, effective

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EQUAL = Weights(relevance=0.5, importance=0.25, recency=0.25)
SHARE = st.floats(0, 1)
WEIGHT = st.floats(0, 1000)


def candidate(**changes: Any) -> Candidate:
    defaults: dict[str, Any] = {
        "message_id": uuid4(),
        "conversation_id": "c",
        "role": "user",
        "content": "hello",
        "metadata": {"a": 1},
        "importance": 0.5,
        "created_at": NOON,
    }
    return Candidate(**defaults | changes)


def ranked(*candidates: Candidate, weights: Weights = EQUAL, days: float = 30) -> list[Ranked]:
    return rank(candidates, relevance, weights, days, NOON)


def semantic(similarity: float | None, _: float | None) -> float:
    """Relevance as `mode=semantic` has it."""
    return similarity or 0.0


CANDIDATES = st.builds(
    candidate,
    similarity=st.none() | st.floats(-1.001, 1.001),
    bm25=st.none() | st.floats(0, 5_000),
    # ln(4 / 3), of a tenant with one message, is the least.
    rarest=st.none() | st.floats(0.28, 20),
    importance=SHARE,
    created_at=st.datetimes(timezones=st.just(UTC)),
)
SETTINGS = st.builds(
    partial(msgspec.structs.replace, effective(Settings(), TenantSettings())),
    w_relevance=WEIGHT,
    w_importance=WEIGHT,
    w_recency=WEIGHT,
    half_life_days=st.floats(1e-3, 1e5),
).filter(lambda settings: settings.w_relevance + settings.w_importance + settings.w_recency > 0)


def test_the_score_is_the_documented_sum() -> None:
    found = candidate(
        similarity=0.8, bm25=3.4, rarest=2.0, importance=0.6, created_at=NOON - 60 * DAY
    )
    (first,) = ranked(found, days=30)
    assert first.lexical == pytest.approx(0.5)
    assert first.relevance == pytest.approx(0.3 * 0.8 + 0.7 * 0.5)
    assert first.recency == pytest.approx(0.25)
    assert first.score == pytest.approx(0.5 * 0.59 + 0.25 * 0.6 + 0.25 * 0.25)
    assert first.rerank is None
    assert (SEMANTIC_SHARE, CONTEXT_SHARE, HALF_OF_RAREST) == (0.3, 0.6, 1.7)


@pytest.mark.parametrize(
    ("similarity", "importance", "score"),
    [(1, 1, 1), (1, 0, 0.7), (0, 1, 0.3), (0.5, 0.5, 0.5), (0.8, 0.45, 0.695), (None, 1, 0.3)],
)
def test_by_meaning_alone_the_score_is_as_it_ever_was(
    similarity: float | None, importance: float, score: float
) -> None:
    found = candidate(
        similarity=similarity, importance=importance, bm25=9.0, rarest=1.0, created_at=NOON - DAY
    )
    (first,) = rank([found], semantic, SEMANTIC_WEIGHTS, 30, NOON)
    assert first.score == pytest.approx(score, abs=1e-12)
    assert first.relevance == (similarity or 0)


@given(st.lists(CANDIDATES, max_size=5), SETTINGS)
def test_all_figures_are_shares(candidates: list[Candidate], settings: Effective) -> None:
    weights = weights_of(settings)
    for each in rank(candidates, relevance, weights, settings.half_life_days, NOON):
        assert 0 <= each.relevance <= 1
        assert 0 <= each.recency <= 1
        assert each.lexical is None or 0 <= each.lexical < 1
        # The weights add up to 1 but for the last digit.
        assert 0 <= each.score <= 1 + 1e-15
        assert 0 <= hit(each).similarity <= 1


@given(SETTINGS)
def test_weights_are_brought_to_a_sum_of_1(settings: Effective) -> None:
    weights = weights_of(settings)
    assert weights.relevance + weights.importance + weights.recency == pytest.approx(1)
    assume(settings.w_importance > 1e-6)
    assert weights.relevance / weights.importance == pytest.approx(
        settings.w_relevance / settings.w_importance, rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize(
    ("age", "share"), [(0, 1), (10, 0.5), (20, 0.25), (30, 0.125), (5, 0.5**0.5)]
)
def test_recency_is_halved_with_each_half_life(age: int, share: float) -> None:
    assert recency(NOON - age * DAY, NOON, 10) == pytest.approx(share)


@pytest.mark.parametrize("ahead", [timedelta(microseconds=1), DAY, 365_000 * DAY])
def test_what_is_dated_ahead_is_said_now(ahead: timedelta) -> None:
    assert recency(NOON + ahead, NOON, 0.001) == 1


def test_the_oldest_date_with_the_shortest_half_life_has_none() -> None:
    assert recency(datetime(1, 1, 1, tzinfo=UTC), NOON, 5e-324) == 0
    assert recency(NOON, NOON, 5e-324) == 1


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 1e5))
def test_the_older_is_never_the_more_recent(one: float, other: float, half_life: float) -> None:
    older, newer = NOON - max(one, other) * DAY / 2, NOON - min(one, other) * DAY / 2
    assert recency(older, NOON, half_life) <= recency(newer, NOON, half_life)


@pytest.mark.parametrize(
    ("bm25", "rarest", "lexical"),
    [(None, 5.0, None), (3.0, None, None), (3.0, 0.0, None), (0.0, 5.0, 0.0), (8.5, 5.0, 0.5)],
)
def test_words_count_on_the_scale_of_the_rarest(
    bm25: float | None, rarest: float | None, lexical: float | None
) -> None:
    assert lexical_score(candidate(bm25=bm25, rarest=rarest)) == lexical


def test_the_best_of_a_bad_lot_stays_low() -> None:
    lot = [candidate(similarity=0.1 * n, bm25=0.1 * n, rarest=8.0) for n in range(1, 4)]
    best = ranked(*lot)[0]
    assert best.candidate is lot[-1]
    assert best.relevance < 0.12


@given(st.floats(0, 1e5), st.floats(0.1, 20), SHARE)
def test_words_never_make_a_relevance_of_1(bm25: float, rarest: float, similarity: float) -> None:
    words = lexical_score(candidate(bm25=bm25, rarest=rarest))
    assert relevance(similarity, words) < 1


@given(st.tuples(SHARE, SHARE).map(sorted), st.tuples(SHARE, SHARE).map(sorted))
def test_more_of_either_leg_is_never_less_relevant(
    similarities: list[float], lexicals: list[float]
) -> None:
    less, more = zip(similarities, lexicals, strict=True)
    assert relevance(*less) <= relevance(*more)


@pytest.mark.parametrize(
    ("similarity", "lexical", "fused"),
    [(None, None, 0), (None, 0.4, 0.4), (0.5, None, 0.15), (0.0, 0.5, 0.35), (1.0, 1.0, 1.0)],
)
def test_without_a_vector_the_words_decide(
    similarity: float | None, lexical: float | None, fused: float
) -> None:
    assert relevance(similarity, lexical) == pytest.approx(fused)


def test_a_message_that_waits_for_its_vector_is_ranked() -> None:
    waiting = candidate(bm25=8.0, rarest=4.0)
    other = candidate(similarity=0.3, bm25=1.0, rarest=4.0)
    first, _ = ranked(other, waiting)
    assert first.candidate is waiting
    assert hit(first).similarity == 0


@pytest.mark.parametrize(("cosine", "share"), [(-0.3, 0), (1.0004, 1), (0.4, 0.4), (None, None)])
def test_similarity_is_a_share(cosine: float | None, share: float | None) -> None:
    assert clipped(cosine) == share


@given(st.lists(CANDIDATES, max_size=12))
def test_the_best_come_first_and_none_is_lost(candidates: list[Candidate]) -> None:
    scores = [(each.score, each.candidate.created_at) for each in ranked(*candidates)]
    assert scores == sorted(scores, reverse=True)
    found = {each.candidate.message_id for each in ranked(*candidates)}
    assert found == {each.message_id for each in candidates}


def test_the_newer_comes_first_on_a_tie() -> None:
    by_similarity = Weights(relevance=1, importance=0, recency=0)
    old, new = candidate(similarity=0.5, created_at=NOON - DAY), candidate(similarity=0.5)
    for given_order in ([old, new], [new, old]):
        found = ranked(*given_order, weights=by_similarity)
        assert [each.candidate for each in found] == [new, old]


def test_importance_and_recency_reorder_what_is_nearly_as_relevant() -> None:
    near = candidate(similarity=0.80, importance=0.2, created_at=NOON - 90 * DAY)
    important = candidate(similarity=0.75, importance=0.9, created_at=NOON - 90 * DAY)
    recent = candidate(similarity=0.75, importance=0.2)
    assert [each.candidate for each in ranked(near, important)] == [important, near]
    assert [each.candidate for each in ranked(near, recent)] == [recent, near]


def test_a_hit_is_its_candidate_with_the_figures() -> None:
    found = candidate(similarity=0.5, bm25=2.0, rarest=3.0)
    (first,) = ranked(found)
    shown = hit(first)
    for field in ("message_id", "conversation_id", "role", "content", "metadata", "created_at"):
        assert getattr(shown, field) == getattr(found, field)
    for figure in ("score", "relevance", "recency"):
        assert getattr(shown, figure) == getattr(first, figure)
    assert (shown.similarity, shown.importance) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("top_k", "candidates"), [(1, 50), (5, 50), (12, 50), (13, 52), (100, 400)]
)
def test_more_is_ranked_than_is_answered(top_k: int, candidates: int) -> None:
    assert candidate_count(top_k) == candidates


@given(
    CANDIDATES,
    st.sampled_from(["similarity", "bm25", "importance", "created_at"]),
    SETTINGS,
    st.data(),
)
def test_more_of_a_signal_never_scores_less(
    less: Candidate, signal: str, settings: Effective, data: st.DataObject
) -> None:
    less = msgspec.structs.replace(less, bm25=less.bm25 or 0.0, similarity=less.similarity or 0.0)
    values = {
        "similarity": st.floats(less.similarity, 1.001),
        "bm25": st.floats(less.bm25, 6_000),
        "importance": st.floats(less.importance, 1),
        "created_at": st.datetimes(less.created_at.replace(tzinfo=None), timezones=st.just(UTC)),
    }
    more = msgspec.structs.replace(less, **{signal: data.draw(values[signal])})
    weights = weights_of(settings)
    of_less, of_more = (
        rank([each], relevance, weights, settings.half_life_days, NOON)[0].score
        for each in (less, more)
    )
    assert math.isfinite(of_less)
    assert of_less <= of_more


@given(st.lists(CANDIDATES, max_size=8), st.randoms(use_true_random=False), SETTINGS)
def test_the_order_does_not_depend_on_the_order_they_came_in(
    candidates: list[Candidate], chance: Random, settings: Effective
) -> None:
    mixed = chance.sample(candidates, len(candidates))
    one, other = (
        rank(each, relevance, weights_of(settings), settings.half_life_days, NOON)
        for each in (candidates, mixed)
    )
    assert one == other
