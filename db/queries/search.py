"""The messages that a search may answer with, found by their vectors and by their words."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pgvector import HalfVector
from sqlalchemy import TextClause, text

from db.queries.scopes import filters_of
from memory.embedding.protocol import Vectors
from memory.lexical.bm25 import K1, REFERENCE_LENGTH, B
from memory.lexical.keys import tenant_salt
from memory.ranking import CONTEXT_SHARE
from memory.search import Candidate, Leg, SearchScope

# Through the index the nearest vectors come one by one, and a long message has one a part: so
# many are read for each message that is wanted. The exact form has no such limit.
VECTORS_PER_MESSAGE = 1.2
# The rarer terms of a query fetch messages while they stand in so many together; the others only
# add to the scores of what is fetched.
LEXICAL_BUDGET = 500
LEGS: tuple[Leg, ...] = ("semantic", "lexical")

# How many there are of the messages that each of several answers shows, by the answer's number.
MESSAGES_THERE = text("""
/* messages_there */
select asked.number, count(*)
from unnest(cast(:numbers as int[]), cast(:tenant_ids as text[]), cast(:ids as uuid[]),
  cast(:archived as boolean[])) as asked (number, tenant_id, id, archived)
cross join lateral (
  select from messages
  where messages.tenant_id = asked.tenant_id and messages.id = asked.id
    and (messages.archived_at is null or asked.archived)
  offset 0
) as messages
group by asked.number
""")


class Asked(NamedTuple):
    """A query as the legs take it: its vector of shape (d,), and its terms by number.

    Without a vector, or without terms, that leg finds nothing.
    """

    vector: Vectors | None
    terms: dict[int, str]


def search_candidates(
    scope: SearchScope, asked: Asked, model_id: int, most: int, *, exact: bool
) -> tuple[TextClause, dict[str, Any]]:
    """The statement, and its parameters, for the `most` best messages of each leg in `scope`.

    Each row has the figures of both legs, whichever found it; read it with `candidate_from_row`.
    `exact` compares every vector of the scope, which a small scope wants.
    """
    filters, parameters = filters_of(scope)
    dimensions = None if asked.vector is None else len(asked.vector)
    statement = _statement(
        tuple(filters), scope.include_archived, dimensions, int(model_id), exact=exact
    )
    salt = tenant_salt(scope.tenant_id)
    parameters |= {
        "tenant_id": scope.tenant_id,
        "most": most,
        # Conditions come after: what passes them may lie below the best of all.
        "fetched": None if filters else most,
        "include_archived": scope.include_archived,
        "terms": list(asked.terms),
        "term_keys": [salt | term for term in asked.terms],
        "context_share": CONTEXT_SHARE,
        "k1": K1,
        "b": B,
        "reference": REFERENCE_LENGTH,
        "budget": LEXICAL_BUDGET,
    }
    if asked.vector is not None:
        parameters["vector"] = HalfVector(asked.vector).to_text()
        if not exact:
            parameters["vectors"] = int(most * VECTORS_PER_MESSAGE)
    return statement, parameters


def candidate_from_row(row: Sequence[Any]) -> Candidate:
    """The candidate of a row of `search_candidates`."""
    return Candidate(
        message_id=row[0],
        conversation_id=row[1],
        role=row[2],
        content=row[3],
        metadata=row[4],
        importance=row[5],
        created_at=row[6],
        similarity=row[7],
        bm25=row[8],
        rarest=row[9],
        found_by=[leg for leg, found in zip(LEGS, row[10:], strict=True) if found],
    )


@lru_cache(500)
def _statement(
    filters: tuple[str, ...],
    include_archived: bool,
    dimensions: int | None,
    model_id: int,
    *,
    exact: bool,
) -> TextClause:
    where = "".join(f" and {condition}" for condition in filters)
    archived = "" if include_archived else "and messages.archived_at is null"
    distance = _distance(dimensions)
    # Each found message is looked up by its key; the planner would read the whole tenant.
    return text(f"""
/* search_candidates */
with dense as materialized ({_dense(distance, dimensions, model_id, where, exact=exact)}),
matches as materialized (
  select matched.*, row_number() over (order by matched.bm25 desc, matched.message_id) as place
  from lexical_matches(:tenant_id, cast(:terms as int[]), cast(:term_keys as int8[]),
    array(select message_id from dense), :context_share, :k1, :b, :reference, :budget, :fetched,
    :include_archived) as matched
  {_messages_of("matched", where)} where true {where}
), found as (
  select message_id from dense union select message_id from matches where place <= :most
)
select messages.id as message_id, messages.conversation_id, messages.role, messages.content,
  messages.metadata, messages.importance_score as importance, messages.created_at,
  1 - coalesce(dense.distance, (
    select min({distance}) from message_embeddings as embeddings
    where embeddings.tenant_id = :tenant_id and embeddings.message_id = found.message_id
      and embeddings.model_id = {model_id}
  )) as similarity, matches.bm25, matches.rarest,
  dense.message_id is not null as semantic, coalesce(matches.place <= :most, false) as lexical
from found cross join lateral (
  select * from messages
  where messages.tenant_id = :tenant_id and messages.id = found.message_id {archived}
  offset 0
) as messages
left join dense on dense.message_id = found.message_id
left join matches on matches.message_id = found.message_id
""")  # noqa: S608 - integers and our own text only; values are parameters


def _distance(dimensions: int | None) -> str:
    """How far a row of `embeddings` is from the query."""
    if dimensions is None:
        return "cast(null as double precision)"
    # As a sub-select the vector is read once, not once a row.
    return f"embeddings.embedding::halfvec({dimensions}) <=> (select cast(:vector as halfvec))"


def _dense(distance: str, dimensions: int | None, model_id: int, where: str, *, exact: bool) -> str:
    """The nearest messages.

    The model stands there as a literal, for a generic plan could not know that the partial index
    of that model serves.
    """
    if dimensions is None:
        return f"select cast(null as uuid) as message_id, {distance} as distance limit 0"
    tenant = "embeddings.tenant_id = :tenant_id"
    # Hidden from the planner, which might prefer to walk through the whole tenant.
    tenant = tenant if exact else f"coalesce({tenant}, false)"
    nearest = "" if exact else f"order by {distance} limit :vectors"
    return f"""
  select message_id, min(distance) as distance from (
    select embeddings.message_id, {distance} as distance
    from message_embeddings as embeddings {_messages_of("embeddings", where)}
    where {tenant} and embeddings.model_id = {model_id} {where}
    {nearest}
  ) as vectors group by message_id order by distance limit :most
"""  # noqa: S608 - integers and our own text only; values are parameters


def _messages_of(name: str, where: str) -> str:
    """The join of `name` with its messages, if there are conditions on them."""
    if not where:
        return ""
    return f"join messages on messages.tenant_id = :tenant_id and messages.id = {name}.message_id"
