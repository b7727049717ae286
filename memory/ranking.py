"""How candidates become hits: relevance from two legs, weighed with importance and recency."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from memory.errors import InvalidFieldError
from memory.recency import recency
from memory.search import Candidate, Explanation, Hit, SearchRequest, Weights
from memory.tenants import Effective, check_weights

# What similarity counts for in relevance beside the words; docs/decisions/0004-ranking.md.
SEMANTIC_SHARE = 0.3
# What the words of a message with its context count for beside those of the message alone.
CONTEXT_SHARE = 0.6
# A message that has query terms worth so many terms of the rarest kind is lexically one half.
HALF_OF_RAREST = 1.7
# `mode=semantic`, as documented since the first version.
SEMANTIC_WEIGHTS = Weights(relevance=0.7, importance=0.3, recency=0.0)
# Each leg gives so many candidates; importance and recency reorder among them.
CANDIDATES_PER_HIT = 4
CANDIDATES_MIN = 50


class Ranked(NamedTuple):
    """A candidate with the figures of its rank; all but the candidate lie in 0..1."""

    candidate: Candidate
    lexical: float | None
    relevance: float
    recency: float
    score: float
    rerank: float | None = None


def candidate_count(top_k: int) -> int:
    """How many candidates each leg gives for `top_k` hits."""
    return max(CANDIDATES_MIN, CANDIDATES_PER_HIT * top_k)


def overridden(settings: Effective, request: SearchRequest) -> Effective:
    """`settings` with the weights and the half-life that a request brings.

    Raises `InvalidFieldError` when nothing is left to rank by.
    """
    own = {
        name: value
        for name in ("w_relevance", "w_importance", "w_recency", "half_life_days")
        if (value := getattr(request, name)) is not None
    }
    if request.mode == "semantic":
        if own:
            raise InvalidFieldError(next(iter(own)), "does not go with mode=semantic")
        return settings
    changed = msgspec.structs.replace(settings, **own)
    check_weights(changed)
    return changed


def weights_of(settings: Effective) -> Weights:
    """The weights of `settings`, brought to a sum of 1; not all of them may be 0."""
    total = settings.w_relevance + settings.w_importance + settings.w_recency
    return Weights(
        relevance=settings.w_relevance / total,
        importance=settings.w_importance / total,
        recency=settings.w_recency / total,
    )


def lexical_score(candidate: Candidate) -> float | None:
    """BM25 brought into 0..1, on a scale of the tenant's own rarest terms.

    The more a message has of what the query asks for, the nearer it comes to 1, which none
    reaches. The best of a bad lot stays low.
    """
    if candidate.bm25 is None or not candidate.rarest:
        return None
    return candidate.bm25 / (candidate.bm25 + HALF_OF_RAREST * candidate.rarest)


def relevance(similarity: float | None, lexical: float | None) -> float:
    """Similarity and lexical score fused by their sizes, in 0..1.

    None stands for what cannot be known yet: a message, or a query, without a vector. Then the
    words decide alone.
    """
    if similarity is None:
        return lexical or 0.0
    return SEMANTIC_SHARE * similarity + (1 - SEMANTIC_SHARE) * (lexical or 0.0)


def rank(
    candidates: Iterable[Candidate],
    relevance_of: Callable[[float | None, float | None], float],
    weights: Weights,
    half_life_days: float,
    now: datetime,
) -> list[Ranked]:
    """`candidates` by their score, best first, the newer first on a tie.

    score = w_relevance * relevance + w_importance * importance + w_recency * recency
    """
    ranked = []
    for candidate in candidates:
        lexical = lexical_score(candidate)
        similarity = clipped(candidate.similarity)
        fused = relevance_of(similarity, lexical)
        age = recency(candidate.created_at, now, half_life_days)
        ranked.append(
            Ranked(candidate, lexical, fused, age, _score(weights, fused, candidate, age))
        )
    return _sorted(ranked)


def reranked(
    ranked: Sequence[Ranked],
    relevances: Sequence[float],
    scores: Sequence[float],
    weights: Weights,
) -> list[Ranked]:
    """`ranked` by new `relevances`; the first ones have the reranker's `scores`."""
    padded = [*scores, *[None] * (len(ranked) - len(scores))]
    return _sorted(
        each._replace(
            relevance=fused,
            rerank=score,
            score=_score(weights, fused, each.candidate, each.recency),
        )
        for each, fused, score in zip(ranked, relevances, padded, strict=True)
    )


def hit(ranked: Ranked) -> Hit:
    """The hit of a ranked candidate."""
    candidate = ranked.candidate
    return Hit(
        message_id=candidate.message_id,
        conversation_id=candidate.conversation_id,
        role=candidate.role,
        content=candidate.content,
        metadata=candidate.metadata,
        score=ranked.score,
        similarity=clipped(candidate.similarity) or 0.0,
        relevance=ranked.relevance,
        importance=candidate.importance,
        recency=ranked.recency,
        created_at=candidate.created_at,
    )


def explained(
    hit: Hit, ranked: Ranked, weights: Weights, terms: Mapping[int, str], own: Iterable[int]
) -> Hit:
    """`hit` with its explanation; `terms` are the query's, `own` those of message and context."""
    candidate = ranked.candidate
    found = set(own)
    explanation = Explanation(
        similarity=clipped(candidate.similarity),
        lexical=ranked.lexical,
        bm25=candidate.bm25,
        relevance=ranked.relevance,
        importance=candidate.importance,
        recency=ranked.recency,
        weights=weights,
        found_by=candidate.found_by,
        terms=[word for number, word in terms.items() if number in found],
        rerank=ranked.rerank,
    )
    return msgspec.structs.replace(hit, explanation=explanation)


def clipped(similarity: float | None) -> float | None:
    """max(0, cosine): what points the other way is not less than unlike."""
    return None if similarity is None else min(1.0, max(0.0, similarity))


def _score(weights: Weights, fused: float, candidate: Candidate, age: float) -> float:
    score = (
        weights.relevance * fused
        + weights.importance * candidate.importance
        + weights.recency * age
    )
    return min(1.0, score)  # Rounding may pass it.


def _sorted(ranked: Iterable[Ranked]) -> list[Ranked]:
    def place(each: Ranked) -> tuple[float, datetime, UUID]:
        return each.score, each.candidate.created_at, each.candidate.message_id

    return sorted(ranked, key=place, reverse=True)
