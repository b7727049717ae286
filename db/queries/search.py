"""The messages whose vectors are nearest to a query's."""

from typing import Any

from pgvector import HalfVector
from sqlalchemy import Row, TextClause, text

from memory.embedding.protocol import Vectors
from memory.search import Candidate, SearchScope

# Up to so many vectors in the tenant, comparing all is as fast as the index and misses none.
EXACT_UP_TO = 5_000
# Through the index the nearest vectors come one by one, and a long message has one a part: so
# many are read for each message that is wanted. The exact form has no such limit.
VECTORS_PER_MESSAGE = 4

SCOPE_SIZE = text("""
/* scope_size */
select count(*) from (
  select from message_embeddings where tenant_id = :tenant_id and model_id = :model_id
  limit :most) as vectors
""")

CANDIDATE_COLUMNS = """
  messages.id as message_id, messages.conversation_id, messages.role, messages.content,
  messages.metadata, messages.importance_score as importance, messages.created_at,
  best.similarity
"""


def nearest_messages(
    scope: SearchScope, model_id: int, vector: Vectors, most: int, *, exact: bool
) -> tuple[TextClause, dict[str, Any]]:
    """The statement, and its parameters, for the `most` nearest messages in `scope`.

    The model stands in the statement as a literal, for a generic plan could not know that the
    partial index of that model serves. `exact` compares every vector of the scope.
    """
    distance = f"embeddings.embedding::halfvec({len(vector)}) <=> cast(:vector as halfvec)"
    nearest = "" if exact else f"order by {distance} limit :vectors"
    statement = f"""
/* nearest_messages */
with nearest as materialized (
  select embeddings.message_id, {distance} as distance
  from message_embeddings as embeddings
  join messages on messages.tenant_id = embeddings.tenant_id
    and messages.id = embeddings.message_id
  where embeddings.tenant_id = :tenant_id and embeddings.model_id = {int(model_id)}
    and messages.tenant_id = :tenant_id {_filters(scope)}
  {nearest}
), best as (
  select message_id, 1 - min(distance) as similarity from nearest
  group by message_id order by similarity desc limit :most
)
select {CANDIDATE_COLUMNS}
from best join messages on messages.tenant_id = :tenant_id and messages.id = best.message_id
"""  # noqa: S608 - integers and our own text only; values are parameters
    parameters = {
        "tenant_id": scope.tenant_id,
        "conversation_id": scope.conversation_id,
        "importance_min": scope.importance_min,
        "vector": HalfVector(vector).to_text(),
        "most": most,
        "vectors": most * VECTORS_PER_MESSAGE,
    }
    return text(statement), parameters


def candidate_from_row(row: Row[Any]) -> Candidate:
    """The candidate of a row of `nearest_messages`."""
    return Candidate(**row._mapping)


def _filters(scope: SearchScope) -> str:
    filters = ""
    if scope.conversation_id is not None:
        filters += " and messages.conversation_id = :conversation_id"
    if scope.importance_min is not None:
        filters += " and messages.importance_score >= :importance_min"
    return filters
