"""A large store: messages mixed from our own conversations, with their real vectors perturbed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import psycopg
import uuid_utils.compat
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from sqlalchemy import create_engine

from db.engine import driver_url
from db.models import register_model
from db.queries.models import hnsw_index
from db.queries.terms import REFRESH_STATISTICS
from memory.embedding.onnx import OnnxEmbedder
from memory.lexical.analysis import analyser
from memory.lexical.bm25 import content_entry, context_entry
from tests import quality
from tests.quality.conversations import read_conversations

CONVERSATION_MESSAGES = 25
NOISE = 0.015
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGES = (
    "copy messages (tenant_id, id, conversation_id, role, content, metadata, importance_score,"
    " embedding_status, created_at) from stdin"
)
VECTORS = (
    "copy message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)"
    " from stdin (format binary)"
)
TERMS = (
    "copy message_terms (tenant_id, message_id, kind, previous_id, analyser, length, weights, keys)"
    " from stdin"
)


class Stored(NamedTuple):
    """A message as it is stored, with its unit vector of shape (384,)."""

    id: UUID
    content: str
    vector: NDArray[np.float32]


@cache
def turns() -> tuple[list[str], NDArray[np.float32]]:
    """What was said in English in our own conversations, and the vectors, shape (turns, 384)."""
    (path,) = quality.__path__
    conversations = read_conversations(Path(path) / "conversations.json")
    contents = [turn.content for each in conversations for turn in each.turns]
    return contents, OnnxEmbedder().embed(contents)


def queries() -> tuple[list[str], NDArray[np.float32]]:
    """What is asked about them, and the vectors, shape (questions, 384)."""
    (path,) = quality.__path__
    conversations = read_conversations(Path(path) / "conversations.json")
    questions = [question.text for each in conversations for question in each.questions]
    return questions, OnnxEmbedder().embed(questions, "query")


def fill(url: str, tenants: Mapping[str, int]) -> int:
    """Store so many messages for each of `tenants`, all indexed; gives the model's id."""
    dimensions = OnnxEmbedder.dimensions
    model_id = register_model(url, OnnxEmbedder.model, dimensions)
    random = np.random.default_rng(7)
    with psycopg.connect(url) as connection:
        register_vector(connection)
        connection.execute(f"drop index message_embeddings_hnsw_{model_id}")
        for tenant_id, messages in tenants.items():
            copy_tenant(connection, tenant_id, model_id, list(mixed(messages, random)))
        connection.execute("set local maintenance_work_mem = '512MB'")
        connection.execute(str(hnsw_index(model_id, dimensions)))
    engine = create_engine(driver_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as owner:
        for tenant_id, messages in tenants.items():
            if messages > 1_000:
                owner.execute(REFRESH_STATISTICS, {"tenant_id": tenant_id})
        owner.exec_driver_sql("vacuum (analyze)")
    engine.dispose()
    return model_id


def mixed(messages: int, random: np.random.Generator) -> Iterator[Stored]:
    """Messages of two parts, each of another turn, with a vector between those of three turns.

    So no two are alike, and none has a crowd around it that no real store would have.
    """
    contents, vectors = turns()
    chosen = random.integers(len(contents), size=(messages, 3))
    shares = random.dirichlet((1.5, 1.5, 1.5), messages).astype(np.float32)
    mixture = np.einsum("ms,msd->md", shares, vectors[chosen])
    mixture += random.normal(0, NOISE, mixture.shape)
    mixture /= np.linalg.norm(mixture, axis=1, keepdims=True)
    for (one, other, _), vector in zip(chosen, mixture, strict=True):
        head, tail = contents[one].split(), contents[other].split()
        content = " ".join(head[: 2 * len(head) // 3 + 1] + tail[2 * len(tail) // 3 :])
        yield Stored(uuid_utils.compat.uuid7(), content, vector.astype(np.float32))


def copy_tenant(
    connection: psycopg.Connection[Any], tenant_id: str, model_id: int, stored: list[Stored]
) -> None:
    """Store a tenant's messages with their vectors and terms, in conversations of 25."""
    with connection.cursor() as cursor:
        with cursor.copy(MESSAGES) as copy:
            for place, message in enumerate(stored):
                role, importance = ("user", 0.5) if place % 2 else ("assistant", 0.45)
                conversation = f"c-{place // CONVERSATION_MESSAGES}"
                channel = '{"channel": "rare"}' if place % 200 == 0 else '{"channel": "web"}'
                said = FIRST + timedelta(minutes=place)
                row = (tenant_id, message.id, conversation, role, message.content, channel)
                copy.write_row((*row, importance, "completed", said))
        with cursor.copy(VECTORS) as copy:
            copy.set_types(["text", "uuid", "int2", "text", "int2", "halfvec"])
            for message in stored:
                vector = HalfVector(message.vector)
                copy.write_row((tenant_id, message.id, model_id, "content", 0, vector))
        with cursor.copy(TERMS) as copy:
            for row in terms(tenant_id, stored):
                copy.write_row(row)


def terms(tenant_id: str, stored: list[Stored]) -> Iterator[tuple[object, ...]]:
    """The rows of the lexical index for a tenant's messages."""
    words = analyser("english")
    for place, message in enumerate(stored):
        channel = "rare" if place % 200 == 0 else "web"
        entry = content_entry(words, tenant_id, message.content, {"channel": channel})
        yield (tenant_id, message.id, "content", None, *entry)
        if place % CONVERSATION_MESSAGES:
            before = stored[place - 1]
            entry = context_entry(words, tenant_id, before.content, message.content)
            yield (tenant_id, message.id, "context", before.id, *entry)
