"""Which messages lie in the scope of a search, and how many they are."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import TextClause, text

from memory.lexical.keys import metadata_keys, tenant_salt
from memory.search import SearchScope

# Up to so many vectors, comparing all is as fast as the index and misses none.
EXACT_UP_TO = 5_000
# The index serves all tenants: of the vectors that it gives, those of others are passed over. To
# compare all `n` of a tenant costs as `n`, to look through an index of `t` costs as `t / n`. They
# cost the same where `n * n` is so many `t` (measured: docs/decisions/0005-lexical-and-dense.md).
EXACT_PER_VECTOR = 3_000
# A message must have the keys of the first values of a metadata filter; then all are compared.
METADATA_LOOKUPS = 3

# Statistics know the size of a large tenant; a small one is counted. The size of the table is what
# its last ANALYZE saw, or -1.
TENANT_SIZE = text("""
/* tenant_size */
select coalesce(
    (select messages from term_statistics where tenant_id = :tenant_id),
    (select count(*) from (
      select from messages where tenant_id = :tenant_id limit :most) as counted)
  ) as messages,
  (select cast(reltuples as bigint) from pg_class
    where oid = cast('message_embeddings' as regclass)) as vectors
""")


def is_small(messages: int, vectors: int) -> bool:
    """Whether all of a tenant's `messages` had better be compared, in a table of `vectors`."""
    return messages <= EXACT_UP_TO or messages**2 <= EXACT_PER_VECTOR * vectors


def filters_of(scope: SearchScope) -> tuple[list[str], dict[str, Any]]:
    """The conditions of `scope` on `messages` beyond the tenant, and their parameters."""
    found = list(_filters(scope))
    values = {name: value for _, parameters in found for name, value in parameters.items()}
    return [condition for condition, _ in found], values


def scope_size(scope: SearchScope) -> tuple[TextClause, dict[str, Any]] | None:
    """The count, up to just over `EXACT_UP_TO`, of the messages that an index finds for `scope`.

    None when no index narrows the tenant down: role and importance are filters that most
    messages pass.
    """
    narrowed = SearchScope(
        tenant_id=scope.tenant_id,
        conversation_id=scope.conversation_id,
        created_after=scope.created_after,
        created_before=scope.created_before,
        metadata=scope.metadata,
        include_archived=scope.include_archived,
    )
    filters, parameters = filters_of(narrowed)
    if not filters:
        return None
    parameters |= {"tenant_id": scope.tenant_id, "most": EXACT_UP_TO + 1}
    return _size(tuple(filters)), parameters


@lru_cache(500)
def _size(filters: tuple[str, ...]) -> TextClause:
    return text(f"""
/* scope_size */
select count(*) from (
  select from messages where messages.tenant_id = :tenant_id and {" and ".join(filters)}
  limit :most) as counted
""")  # noqa: S608 - our own text only; values are parameters


def _filters(scope: SearchScope) -> Iterator[tuple[str, dict[str, Any]]]:
    if scope.conversation_id is not None:
        yield (
            "messages.conversation_id = :conversation_id",
            {"conversation_id": scope.conversation_id},
        )
    if scope.role is not None:
        roles = [scope.role] if isinstance(scope.role, str) else scope.role
        yield "messages.role = any(cast(:roles as text[]))", {"roles": roles}
    if scope.importance_min is not None:
        yield (
            "messages.importance_score >= :importance_min",
            {"importance_min": scope.importance_min},
        )
    if scope.created_after is not None:
        yield "messages.created_at >= :created_after", {"created_after": scope.created_after}
    if scope.created_before is not None:
        yield "messages.created_at < :created_before", {"created_before": scope.created_before}
    if scope.metadata:
        yield from _metadata_filters(scope.tenant_id, scope.metadata, scope.include_archived)


def _metadata_filters(
    tenant_id: str, metadata: dict[str, Any], archived: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    salt = tenant_salt(tenant_id)
    for place, key in enumerate(sorted(metadata_keys(metadata))[:METADATA_LOOKUPS]):
        found = f"messages_with_key(:tenant_id, :metadata_key_{place}, :include_archived)"
        yield (
            f"messages.id in (select {found})",
            {f"metadata_key_{place}": salt | key, "include_archived": archived},
        )
    contained = msgspec.json.encode(metadata).decode()
    yield "messages.metadata @> cast(:metadata as jsonb)", {"metadata": contained}
