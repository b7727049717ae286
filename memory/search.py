"""Search: what is asked, what is answered, and how the answers are ranked."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from memory.messages import Role

SIMILARITY_WEIGHT = 0.7
IMPORTANCE_WEIGHT = 0.3
# Importance can lift a message by this many places at most; beyond lies what is not similar.
CANDIDATES_PER_HIT = 4
CANDIDATES_MIN = 50


class SearchScope(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages a search may answer with."""

    tenant_id: str
    conversation_id: str | None = None
    importance_min: float | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the database found, with its cosine similarity to the query."""

    message_id: UUID
    conversation_id: str
    role: Role
    content: str
    metadata: dict[str, Any]
    importance: float
    created_at: datetime
    similarity: float


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a search. `score` orders the answers; all three figures lie in 0..1."""

    message_id: UUID
    conversation_id: str
    role: Role
    content: str
    metadata: dict[str, Any]
    score: float
    similarity: float
    importance: float
    created_at: datetime


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of a search, best first; `total` is how many there are."""

    total: int
    items: list[Hit]


def candidate_count(top_k: int) -> int:
    """How many of the nearest messages to rank for `top_k` answers."""
    return max(CANDIDATES_MIN, CANDIDATES_PER_HIT * top_k)


def rank(candidates: Iterable[Candidate], top_k: int) -> SearchAnswer:
    """The best `top_k` by `0.7 * similarity + 0.3 * importance`; the newer first on a tie."""
    hits = [_hit(candidate) for candidate in candidates]
    hits.sort(key=lambda hit: (hit.score, hit.created_at), reverse=True)
    return SearchAnswer(total=len(hits[:top_k]), items=hits[:top_k])


def _hit(candidate: Candidate) -> Hit:
    similarity = min(1.0, max(0.0, candidate.similarity))
    score = SIMILARITY_WEIGHT * similarity + IMPORTANCE_WEIGHT * candidate.importance
    return Hit(
        message_id=candidate.message_id,
        conversation_id=candidate.conversation_id,
        role=candidate.role,
        content=candidate.content,
        metadata=candidate.metadata,
        score=score,
        similarity=similarity,
        importance=candidate.importance,
        created_at=candidate.created_at,
    )
