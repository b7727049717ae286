"""Rows for tests of the database, written by its owner."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

from db.keys import By, create_key
from db.queries.jobs import INSERT_JOB
from memory.jobs import JobKind, JobState
from memory.keys import IssuedKey, NewKey
from tasks.jobs import NewJob

INSERT = text("""
insert into messages (tenant_id, id, conversation_id, role, content, importance_score,
  created_at, ingested_at, pending_since, embedding_status, embedding_attempts, claimed_until)
values (:tenant_id, :id, :conversation_id, :role, :content, :importance, :created_at,
  now() - make_interval(secs => :age), now() - make_interval(secs => :age), :status, :attempts,
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


def add_job(
    connection: Connection,
    tenant_id: str = "acme",
    kind: JobKind = "embeddings_retry",
    *,
    state: JobState = "queued",
    unique_key: str | None = None,
    **columns: Any,
) -> str:
    """Insert a job, with any other columns as they are given; gives its id."""
    new = NewJob(kind, tenant_id, {}, "test", unique_key).parameters()
    job_id = connection.scalar(INSERT_JOB, new)
    set_job(connection, job_id, state=state, **columns)
    return str(job_id)


def set_job(connection: Connection, job_id: UUID | str, **columns: Any) -> None:
    """Write columns of a job."""
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    connection.execute(
        text(f"update jobs set {assignments} where id = cast(:job as uuid)"),
        {**columns, "job": str(job_id)},
    )


def add_key(connection: Connection, **given: Any) -> IssuedKey:
    """Make a key for `acme`, or as it is given."""
    new = NewKey(**{"tenants": ["acme"], **given})
    return create_key(connection, new, By("test"))
