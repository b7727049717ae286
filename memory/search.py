"""Search: what is asked, and what is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from memory.messages import WITHOUT_NUL, ConversationId, Metadata, Role, Share, TenantId
from memory.rerank.protocol import RerankerName
from memory.values import Days, Weight

Mode = Literal["hybrid", "semantic", "lexical"]
Leg = Literal["semantic", "lexical"]

QUERY_MAX_CHARS = 20_000
QUERIES_MAX = 32
# All of one request; reading them takes the model a second or so.
QUERIES_MAX_CHARS = 100_000
TOP_K_MAX = 100
CONTEXT_MAX = 10

Query = Annotated[
    str, Meta(min_length=1, max_length=QUERY_MAX_CHARS, extra_json_schema=WITHOUT_NUL)
]


class SearchScope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which messages a search may answer with."""

    tenant_id: TenantId
    conversation_id: ConversationId | None = None
    role: Role | list[Role] | None = None
    importance_min: Share | None = None
    created_after: Annotated[datetime, Meta(tz=True)] | None = None
    created_before: Annotated[datetime, Meta(tz=True)] | None = None
    metadata: Metadata | None = None
    include_archived: bool = False


class SearchRequest(SearchScope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search, or up to 32 of them in the same scope."""

    query: Query | None = None
    queries: Annotated[list[Query], Meta(min_length=1, max_length=QUERIES_MAX)] | None = None
    top_k: Annotated[int, Meta(ge=1, le=TOP_K_MAX)] = 5
    mode: Mode = "hybrid"
    context: Annotated[int, Meta(ge=0, le=CONTEXT_MAX)] = 0
    explain: bool = False
    rerank: RerankerName | None = None
    w_relevance: Weight | None = None
    w_importance: Weight | None = None
    w_recency: Weight | None = None
    half_life_days: Days | None = None

    @property
    def scope(self) -> SearchScope:
        """What the search is held to, without what is asked there."""
        return SearchScope(**{name: getattr(self, name) for name in SearchScope.__struct_fields__})


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a leg found.

    `similarity` is the cosine of its vector and the query's, None while it has no vector or the
    query has none. `bm25` is its BM25, None where no term of the query stands in it; `rarest` is
    the idf of a term that a single message of the tenant has. `found_by` names the legs.
    """

    message_id: UUID
    conversation_id: str
    role: Role
    content: str
    metadata: dict[str, Any]
    importance: float
    created_at: datetime
    similarity: float | None = None
    bm25: float | None = None
    rarest: float | None = None
    found_by: list[Leg] = []


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """A message that stands beside a hit in its conversation.

    `score` is there when it was a hit itself, and has been merged into the better one.
    """

    message_id: UUID
    role: Role
    content: str
    created_at: datetime
    score: float | UnsetType = UNSET


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What each part counts for in a score; they add up to 1."""

    relevance: float
    importance: float
    recency: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """How a score came about: the sum of relevance, importance and recency by their weights.

    `lexical` is BM25 brought into 0..1. `similarity` and `lexical` are null where there was
    nothing to compare. `rerank` is the reranker's score where one took part.
    """

    similarity: float | None
    lexical: float | None
    bm25: float | None
    relevance: float
    importance: float
    recency: float
    weights: Weights
    found_by: list[Leg]
    terms: list[str]
    rerank: float | None = None


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a search. `score` orders the answers; all figures lie in 0..1."""

    message_id: UUID
    conversation_id: str
    role: Role
    content: str
    metadata: dict[str, Any]
    score: float
    similarity: float
    relevance: float
    importance: float
    recency: float
    created_at: datetime
    before: list[Neighbour] | UnsetType = UNSET
    after: list[Neighbour] | UnsetType = UNSET
    explanation: Explanation | UnsetType = UNSET

    def message_ids(self) -> list[UUID]:
        """The messages that are shown: the hit itself and those around it."""
        around = (self.before or []) + (self.after or [])
        return [self.message_id, *(near.message_id for near in around)]


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of a search, best first; `total` is how many there are.

    `degraded` says that a part of the search could not take place, and `degraded_reason` which.
    `cached` says that the answer was computed up to a minute ago; each of its messages is still
    there.
    """

    total: int
    items: list[Hit]
    scope: SearchScope
    mode: Mode
    degraded: bool = False
    degraded_reason: str | None = None
    cached: bool = False


class SearchAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of several searches, in the order of `queries`."""

    results: list[SearchAnswer]
