"""How a reranker's score enters the ranking."""

from collections.abc import Sequence

# So many of the best candidates are read by the reranker: 30 or 50 found hardly more.
RERANKED = 20
# A plateau from 0.4 to 0.7 in the trial of `docs/decisions/0006-reranking.md`.
RERANKER_WEIGHT = 0.5


def blend(relevance: Sequence[float], scores: Sequence[float]) -> list[float]:
    """The relevance of each candidate, in 0..1, after the first `len(scores)` were reranked.

    A candidate's is `0.5 * relevance + 0.5 * score`. Nothing is stretched to the best of the list:
    a bad lot stays bad. One that was not read counts as the least of those that were: it passes
    none of them that was at least as relevant before, however low that one scored, and keeps its
    order among its like. Raises `ValueError` when there are more scores than candidates.
    """
    if not scores:
        return list(relevance)
    given = [*scores, *[min(scores)] * (len(relevance) - len(scores))]
    return [
        (1 - RERANKER_WEIGHT) * before + RERANKER_WEIGHT * score
        for before, score in zip(relevance, given, strict=True)
    ]
