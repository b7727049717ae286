"""Embedding models: which one the store's searches use, and its index."""

from sqlalchemy import TextClause, select, text

from db.tables import embedding_models

ACTIVE_MODEL = select(
    embedding_models.c.id, embedding_models.c.name, embedding_models.c.dimensions
).where(embedding_models.c.active)

INSERT_ACTIVE_MODEL = text(
    "insert into embedding_models (name, dimensions, active) values (:name, :dimensions, true)"
    " on conflict (name, dimensions) do update set active = true"
    " returning id, name, dimensions"
)


# pgvector's default of 64 misses too many of the nearest among 100,000
# (docs/decisions/0005-lexical-and-dense.md).
EF_CONSTRUCTION = 128


def hnsw_index(model_id: int, dimensions: int) -> TextClause:
    """The index of one model's vectors.

    Partial, because it would refuse a row of another model's dimensions. For a model that has
    no vectors yet: on one that has, a plain build locks out writers.
    """
    return text(
        f"create index if not exists message_embeddings_hnsw_{int(model_id)} on message_embeddings"
        f" using hnsw ((embedding::halfvec({int(dimensions)})) halfvec_cosine_ops)"
        f" with (ef_construction = {EF_CONSTRUCTION}) where model_id = {int(model_id)}"
    )
