"""The tables as the queries see them; `migrations/` makes them, a test holds both together."""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

messages = Table(
    "messages",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("conversation_id", Text(collation="C"), nullable=False),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("metadata", JSONB, nullable=False, key="metadata_"),
    Column("importance_score", Double, nullable=False),
    Column("importance_override", Double),
    Column("embedding_status", Text, nullable=False),
    Column("embedding_attempts", SmallInteger, nullable=False),
    Column("embedding_error", Text),
    Column("claimed_until", DateTime(timezone=True)),
    Column("content_version", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("ingested_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
)

embedding_models = Table(
    "embedding_models",
    metadata,
    Column("id", SmallInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

message_embeddings = Table(
    "message_embeddings",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("model_id", SmallInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("part", SmallInteger, nullable=False),
    Column("embedding", HALFVEC(), nullable=False),
    PrimaryKeyConstraint("tenant_id", "message_id", "model_id", "kind", "part"),
    ForeignKeyConstraint(
        ["tenant_id", "message_id"], ["messages.tenant_id", "messages.id"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(["model_id"], ["embedding_models.id"]),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("key", Text(collation="C"), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("message_ids", ARRAY(Uuid), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("tenant_id", "key"),
)
