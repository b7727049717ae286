"""Rows for tests of the database, written by its owner."""

from datetime import UTC, datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

INSERT = text("""
insert into messages (tenant_id, id, conversation_id, role, content, importance_score,
  created_at, ingested_at, embedding_status, embedding_attempts, claimed_until)
values (:tenant_id, :id, :conversation_id, :role, :content, :importance, :created_at,
  now() - make_interval(secs => :age), :status, :attempts,
  now() + make_interval(secs => cast(:claimed_for as float8)))
""")


def add_message(
    connection: Connection,
    tenant_id: str = "acme",
    content: str = "hello",
    *,
    conversation_id: str = "c",
    importance: float = 0.5,
    status: str = "pending",
    attempts: int = 0,
    age: float = 0,
    claimed_for: float | None = None,
) -> UUID:
    """Insert a message ingested `age` seconds ago and claimed for `claimed_for` more."""
    message_id = uuid7()
    connection.execute(
        INSERT,
        {
            "tenant_id": tenant_id,
            "id": message_id,
            "conversation_id": conversation_id,
            "role": "user",
            "content": content,
            "importance": importance,
            "created_at": datetime.now(UTC),
            "status": status,
            "attempts": attempts,
            "age": age,
            "claimed_for": claimed_for,
        },
    )
    return message_id


def add_vector(
    connection: Connection,
    tenant_id: str,
    message_id: UUID,
    model_id: int,
    vector: NDArray[np.float32],
    part: int = 0,
) -> None:
    """Insert a vector of a message."""
    connection.execute(
        text(
            "insert into message_embeddings values"
            " (:tenant_id, :message_id, :model_id, 'content', :part, cast(:vector as halfvec))"
        ),
        {
            "tenant_id": tenant_id,
            "message_id": message_id,
            "model_id": model_id,
            "part": part,
            "vector": HalfVector(vector).to_text(),
        },
    )
