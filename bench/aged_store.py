"""A store of the size and age that retention meets: real messages, mixed, over many tenants."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import psycopg
import uuid_utils.compat
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from sqlalchemy import create_engine

from bench.conversations import Dataset
from db.engine import driver_url
from db.queries.models import hnsw_index
from db.queries.terms import REFRESH_STATISTICS
from memory.embedding.onnx import OnnxEmbedder
from memory.lexical.analysis import analyser
from memory.lexical.bm25 import content_entry, context_entry

Floats = NDArray[np.float32]

CONVERSATION_MESSAGES = 40
NOISE = 0.03
# Half of the messages are younger than this.
HALF_AGE_DAYS = 40
OLDEST_DAYS = 400
ROLES = ("user", "assistant")
MESSAGES = (
    "copy messages (tenant_id, id, conversation_id, role, content, importance_score,"
    " embedding_status, created_at, ingested_at) from stdin"
)
VECTORS = (
    "copy message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)"
    " from stdin (format binary)"
)
TERMS = (
    "copy message_terms (tenant_id, message_id, kind, previous_id, analyser, length, weights, keys)"
    " from stdin"
)


class Aged(NamedTuple):
    """A message with its age and its unit vector."""

    id: UUID
    content: str
    said: datetime
    vector: Floats


def fill(url: str, dataset: Dataset, messages: int, tenants: int) -> None:
    """Store so many messages in so many tenants of a service's empty store, all indexed."""
    contents = [turn.content for each in dataset.conversations for turn in each.turns]
    vectors = OnnxEmbedder().embed(contents)
    random = np.random.default_rng(7)
    with psycopg.connect(url) as connection:
        register_vector(connection)
        (model_id,) = connection.execute("select id from embedding_models").fetchone() or (0,)
        connection.execute(f"drop index message_embeddings_hnsw_{model_id}")
        for number in range(tenants):
            stored = list(mixed(contents, vectors, messages // tenants, random))
            copy_tenant(connection, f"tenant-{number:03}", model_id, stored)
        connection.execute("set local maintenance_work_mem = '512MB'")
        connection.execute(str(hnsw_index(model_id, OnnxEmbedder.dimensions)))
    engine = create_engine(driver_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as owner:
        for number in range(tenants):
            owner.execute(REFRESH_STATISTICS, {"tenant_id": f"tenant-{number:03}"})
        owner.exec_driver_sql("vacuum (analyze)")
    engine.dispose()


def mixed(
    contents: Sequence[str], vectors: Floats, messages: int, random: np.random.Generator
) -> Iterator[Aged]:
    """Messages of the parts of two others each, oldest first, with a vector between theirs."""
    chosen = random.integers(len(contents), size=(messages, 2))
    mixture = vectors[chosen].mean(axis=1) + random.normal(0, NOISE, (messages, vectors.shape[1]))
    mixture /= np.linalg.norm(mixture, axis=1, keepdims=True)
    days = np.minimum(random.exponential(HALF_AGE_DAYS / np.log(2), messages), OLDEST_DAYS)
    now = datetime.now(UTC)
    for (one, other), age, vector in zip(chosen, sorted(days, reverse=True), mixture, strict=True):
        head, tail = contents[one].split(), contents[other].split()
        content = " ".join(head[: len(head) // 2 + 1] + tail[len(tail) // 2 :])
        said = now - timedelta(days=float(age))
        yield Aged(uuid_utils.compat.uuid7(), content, said, vector.astype(np.float32))


def copy_tenant(
    connection: psycopg.Connection[Any],
    tenant_id: str,
    model_id: int,
    stored: Sequence[Aged],
    first: int = 0,
) -> None:
    """Store a tenant's messages with their vectors and terms, as the service would have.

    `first` is how many conversations the tenant has already.
    """
    with connection.cursor() as cursor:
        with cursor.copy(MESSAGES) as copy:
            for place, message in enumerate(stored):
                conversation = f"c-{first + place // CONVERSATION_MESSAGES}"
                role = ROLES[place % 2]
                row = (tenant_id, message.id, conversation, role, message.content, 0.5)
                copy.write_row((*row, "completed", message.said, message.said))
        with cursor.copy(VECTORS) as copy:
            copy.set_types(["text", "uuid", "int2", "text", "int2", "halfvec"])
            for message in stored:
                vector = HalfVector(message.vector)
                copy.write_row((tenant_id, message.id, model_id, "content", 0, vector))
        with cursor.copy(TERMS) as copy:
            for entry in terms(tenant_id, stored):
                copy.write_row(entry)


def terms(tenant_id: str, stored: Sequence[Aged]) -> Iterator[tuple[object, ...]]:
    """The rows of the lexical index for a tenant's messages."""
    words = analyser("english")
    for place, message in enumerate(stored):
        entry = content_entry(words, tenant_id, message.content, {})
        yield (tenant_id, message.id, "content", None, *entry)
        if place % CONVERSATION_MESSAGES:
            before = stored[place - 1]
            entry = context_entry(words, tenant_id, before.content, message.content)
            yield (tenant_id, message.id, "context", before.id, *entry)
