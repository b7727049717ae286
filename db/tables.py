"""The tables as the queries see them; `migrations/` makes them, a test holds both together."""

from pgvector.sqlalchemy import HALFVEC, SPARSEVEC
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
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

from memory.lexical.analysis import TERM_SPACE

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
    Column("archived_at", DateTime(timezone=True)),
    Column("pinned", Boolean, nullable=False),
    Column("restored_at", DateTime(timezone=True)),
    Column("markers", REAL),
    Column("rarity", REAL),
    Column("pending_since", DateTime(timezone=True), nullable=False),
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
    Column("provider", Text),
    Column("setting", Text),
    Column("filling", Boolean, nullable=False),
    Column("activated_at", DateTime(timezone=True)),
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

message_terms = Table(
    "message_terms",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("previous_id", Uuid),
    Column("analyser", Text, nullable=False),
    Column("length", Integer, nullable=False),
    Column("weights", SPARSEVEC(TERM_SPACE), nullable=False),
    Column("keys", ARRAY(BigInteger), nullable=False),
    PrimaryKeyConstraint("tenant_id", "message_id", "kind"),
    ForeignKeyConstraint(
        ["tenant_id", "message_id"], ["messages.tenant_id", "messages.id"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(
        ["tenant_id", "previous_id"], ["messages.tenant_id", "messages.id"], ondelete="CASCADE"
    ),
)

term_statistics = Table(
    "term_statistics",
    metadata,
    Column("tenant_id", Text(collation="C"), primary_key=True),
    Column("messages", BigInteger, nullable=False),
    Column("content_length", Double, nullable=False),
    Column("context_length", Double, nullable=False),
    Column("refreshed_at", DateTime(timezone=True), nullable=False),
)

term_counts = Table(
    "term_counts",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("term", Integer, nullable=False),
    Column("messages", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "term"),
)

tenant_settings = Table(
    "tenant_settings",
    metadata,
    Column("tenant_id", Text(collation="C"), primary_key=True),
    Column("language", Text),
    Column("w_relevance", Double),
    Column("w_importance", Double),
    Column("w_recency", Double),
    Column("half_life_days", Double),
    Column("importance_w_role", Double),
    Column("importance_w_content", Double),
    Column("importance_w_recency", Double),
    Column("importance_w_use", Double),
    Column("importance_half_life_days", Double),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

term_reindexing = Table(
    "term_reindexing",
    metadata,
    Column("tenant_id", Text(collation="C"), primary_key=True),
    Column("finished_to", Uuid, nullable=False),
    Column("not_before", DateTime(timezone=True), nullable=False),
)

archived_terms = Table(
    "archived_terms",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("analyser", Text, nullable=False),
    Column("length", Integer, nullable=False),
    Column("weights", SPARSEVEC(TERM_SPACE), nullable=False),
    Column("keys", ARRAY(BigInteger), nullable=False),
    PrimaryKeyConstraint("tenant_id", "message_id"),
    ForeignKeyConstraint(
        ["tenant_id", "message_id"], ["messages.tenant_id", "messages.id"], ondelete="CASCADE"
    ),
)

message_uses = Table(
    "message_uses",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("uses", Double, nullable=False),
    Column("counted_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("tenant_id", "message_id"),
    ForeignKeyConstraint(
        ["tenant_id", "message_id"], ["messages.tenant_id", "messages.id"], ondelete="CASCADE"
    ),
)

retention_policies = Table(
    "retention_policies",
    metadata,
    Column("tenant_id", Text(collation="C"), primary_key=True),
    Column("max_age_days", Integer),
    Column("importance_threshold", Double),
    Column("delete_after_days", Integer),
    Column("max_messages", BigInteger),
    Column("exempt_roles", ARRAY(Text)),
    Column("age_from", Text),
    Column("legal_hold", Boolean),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("position", JSONB, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("result", JSONB),
    Column("error", Text),
    Column("started_by", Text, nullable=False),
    Column("unique_key", Text),
    Column("attempts", SmallInteger, nullable=False),
    Column("runner", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("tenant_id", "id"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("request_id", Text),
    Column("details", JSONB, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
)

store_gauges = Table(
    "store_gauges",
    metadata,
    Column("name", Text(collation="C"), nullable=False),
    Column("label", Text(collation="C"), nullable=False),
    Column("value", Double, nullable=False),
    Column("measured_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("name", "label"),
)
