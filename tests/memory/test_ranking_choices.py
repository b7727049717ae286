"""What a request changes of the ranking, what a reranker does, and how it is explained."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.errors import InvalidFieldError
from memory.ranking import Ranked, explained, hit, overridden, rank, relevance, reranked
from memory.search import Candidate, SearchRequest, Weights
from memory.settings import Settings
from memory.tenants import Effective, TenantSettings, effective

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TENANT = effective(
    Settings(w_relevance=0.8, w_importance=0.1, w_recency=0.1, half_life_days=30.0),
    TenantSettings(),
)
WEIGHTS = Weights(relevance=0.8, importance=0.1, recency=0.1)
SHARE = st.floats(0, 1)


def request(**changes: Any) -> SearchRequest:
    return SearchRequest(**{"tenant_id": "acme", "query": "tea"} | changes)


def found(*similarities: float | None, **changes: Any) -> list[Ranked]:
    candidates = [
        Candidate(
            message_id=uuid4(),
            conversation_id="c",
            role="user",
            content="tea",
            metadata={},
            importance=0.5,
            created_at=NOON - timedelta(days=place),
            similarity=similarity,
            **changes,
        )
        for place, similarity in enumerate(similarities)
    ]
    return rank(candidates, relevance, WEIGHTS, 30, NOON)


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "semantic"])
def test_a_request_without_wishes_leaves_the_settings(mode: str) -> None:
    assert overridden(TENANT, request(mode=mode)) == TENANT


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("w_relevance", 0.0), ("w_importance", 3.0), ("w_recency", 0.0), ("half_life_days", 1.5)],
)
def test_a_wish_changes_that_setting_alone(mode: str, field: str, value: float) -> None:
    changed = overridden(TENANT, request(mode=mode, **{field: value}))
    for name in Effective.__struct_fields__:
        assert getattr(changed, name) == (value if name == field else getattr(TENANT, name))


@pytest.mark.parametrize("field", ["w_relevance", "w_importance", "w_recency", "half_life_days"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_wish_does_not_go_with_semantic(field: str, value: float) -> None:
    with pytest.raises(InvalidFieldError, match="mode=semantic") as raised:
        overridden(TENANT, request(mode="semantic", **{field: value}))
    assert raised.value.field == field


def test_something_must_be_left_to_rank_by() -> None:
    nothing = {"w_relevance": 0.0, "w_importance": 0.0, "w_recency": 0.0}
    with pytest.raises(InvalidFieldError, match="is 0") as raised:
        overridden(TENANT, request(**nothing))
    assert raised.value.field == "w_relevance"
    assert overridden(TENANT, request(**nothing | {"w_recency": 1e-9})).w_recency == 1e-9


def test_a_wish_completes_settings_that_rank_by_nothing() -> None:
    idle = msgspec.structs.replace(TENANT, w_relevance=0, w_importance=0, w_recency=0)
    assert overridden(idle, request(w_relevance=1.0)).w_relevance == 1
    with pytest.raises(InvalidFieldError):
        overridden(idle, request())


def test_the_reranker_orders_anew() -> None:
    before = found(0.9, 0.8, 0.7)
    after = reranked(before, [0.2, 0.9, 0.3], [0.1, 1.0], WEIGHTS)
    assert [each.candidate for each in after] == [before[at].candidate for at in (1, 2, 0)]
    assert [each.relevance for each in after] == [0.9, 0.3, 0.2]
    assert [each.rerank for each in after] == [1.0, None, 0.1]


@given(st.lists(st.tuples(SHARE, SHARE), max_size=8))
def test_the_score_follows_the_new_relevance(figures: list[tuple[float, float]]) -> None:
    before = found(*[similarity for similarity, _ in figures])
    after = reranked(before, [fused for _, fused in figures], [], WEIGHTS)
    assert [each.score for each in after] == sorted((e.score for e in after), reverse=True)
    for each in after:
        rest = WEIGHTS.importance * each.candidate.importance + WEIGHTS.recency * each.recency
        assert each.score == pytest.approx(WEIGHTS.relevance * each.relevance + rest)


def test_of_equal_relevances_the_newer_comes_first() -> None:
    by_relevance = Weights(relevance=1, importance=0, recency=0)
    before = found(0.1, 0.9)
    after = reranked(before, [0.5, 0.5], [0.5, 0.5], by_relevance)
    newest = max(each.candidate.created_at for each in before)
    assert after[0].candidate.created_at == newest


@pytest.mark.parametrize(("relevances", "scores"), [([0.5], []), ([0.5, 0.5], [1.0] * 3)])
def test_figures_of_other_candidates_are_refused(
    relevances: list[float], scores: list[float]
) -> None:
    with pytest.raises(ValueError, match="argument"):
        reranked(found(0.1, 0.2), relevances, scores, WEIGHTS)


def test_an_explanation_says_how_the_score_came_about() -> None:
    (ranked,) = found(0.5, bm25=2.0, rarest=3.0, found_by=["semantic", "lexical"])
    ranked = ranked._replace(rerank=0.75)
    terms = {7: "tea", 5: "peanuts", 3: "café"}
    shown = explained(hit(ranked), ranked, WEIGHTS, terms, [3, 7, 99])
    why = shown.explanation
    assert why
    assert why.terms == ["tea", "café"]
    assert (why.similarity, why.bm25, why.rerank) == (0.5, 2.0, 0.75)
    assert why.lexical == pytest.approx(2 / (2 + 1.7 * 3))
    assert why.found_by == ["semantic", "lexical"]
    parts = [
        why.weights.relevance * why.relevance,
        why.weights.importance * why.importance,
        why.weights.recency * why.recency,
    ]
    assert shown.score == pytest.approx(sum(parts))


def test_what_could_not_be_compared_is_told_from_what_is_unlike() -> None:
    for similarity, told in ((None, None), (-0.2, 0.0)):
        (ranked,) = found(similarity)
        why = explained(hit(ranked), ranked, WEIGHTS, {}, []).explanation
        assert why
        assert (why.similarity, why.lexical, why.bm25, why.rerank) == (told, None, None, None)
