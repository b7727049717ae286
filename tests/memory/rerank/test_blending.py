import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.rerank.blending import RERANKED, blend

share = st.floats(0, 1)


def test_both_count_half() -> None:
    assert blend([0.8, 0.6], [0.2, 0.9]) == pytest.approx([0.5, 0.75])


def test_without_scores_nothing_changes() -> None:
    assert blend([0.8, 0.6], []) == [0.8, 0.6]
    assert blend([], []) == []


def test_the_best_of_a_bad_lot_stays_bad() -> None:
    assert max(blend([0.1] * 20, [0.12] + [0.1] * 19)) < 0.12


def test_one_that_was_not_read_counts_as_the_least_that_was() -> None:
    assert blend([0.8, 0.6, 0.5, 0.4], [0.9, 0.2]) == pytest.approx([0.85, 0.4, 0.35, 0.3])


@given(st.lists(share, max_size=3 * RERANKED), st.lists(share, max_size=RERANKED))
def test_none_that_was_not_read_passes_one_that_was_as_relevant(
    relevance: list[float], scores: list[float]
) -> None:
    scores = scores[: len(relevance)]
    blended = blend(relevance, scores)
    assert len(blended) == len(relevance)
    assert all(0 <= one <= 1 for one in blended)
    pairs = list(zip(relevance, blended, strict=True))
    unread = pairs[len(scores) :]
    for before, after in pairs:
        assert all(other <= after for earlier, other in unread if earlier <= before)


def test_more_scores_than_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        blend([0.5], [0.5, 0.5])
