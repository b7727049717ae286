"""A tenant that grows to a given size, with vectors near real ones."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector.psycopg import register_vector
from sqlalchemy import create_engine

from bench.aged_store import CONVERSATION_MESSAGES, copy_tenant, mixed
from db.engine import driver_url
from db.queries.models import hnsw_index, index_name
from db.queries.terms import REFRESH_STATISTICS
from memory.embedding.onnx import OnnxEmbedder

Floats = NDArray[np.float32]

TENANT = "large"
# So many texts are embedded; what is stored is of the parts of two each, its vector between theirs.
EMBEDDED = 1_000
LOT = 10_000
BUILD_MEMORY = "2GB"


class Growing:
    """The tenant `TENANT` of an empty store."""

    def __init__(self, url: str, texts: Sequence[str]) -> None:
        self.messages = 0
        self._url = url
        self._texts = texts[:EMBEDDED]
        self._embedder = OnnxEmbedder()
        self._vectors = self.embedded(self._texts)
        self._random = np.random.default_rng(7)

    def embedded(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts, shape (texts, dimensions)."""
        return self._embedder.embed(texts)

    def grow(self, messages: int) -> None:
        """Let it have so many messages, all indexed, with statistics and vacuumed."""
        with psycopg.connect(self._url) as connection:
            register_vector(connection)
            (model_id,) = connection.execute("select id from embedding_models").fetchone() or (0,)
            connection.execute(f"drop index if exists {index_name(model_id)}")
            while self.messages < messages:
                lot = min(LOT, messages - self.messages)
                stored = list(mixed(self._texts, self._vectors, lot, self._random))
                first = -(-self.messages // CONVERSATION_MESSAGES)
                copy_tenant(connection, TENANT, model_id, stored, first)
                self.messages += lot
            connection.execute(f"set local maintenance_work_mem = '{BUILD_MEMORY}'")
            connection.execute(str(hnsw_index(model_id, OnnxEmbedder.dimensions)))
        engine = create_engine(driver_url(self._url), isolation_level="AUTOCOMMIT")
        with engine.connect() as owner:
            owner.execute(REFRESH_STATISTICS, {"tenant_id": TENANT})
            owner.exec_driver_sql("vacuum (analyze)")
        engine.dispose()


def mixed_questions(questions: Sequence[str], seed: int = 11) -> Iterator[str]:
    """Questions without end, no two alike: each the first half of one and the second of another."""
    random = np.random.default_rng(seed)
    given: set[str] = set()
    for _ in itertools.count():
        one, other = random.integers(len(questions), size=2)
        head, tail = questions[one].split(), questions[other].split()
        question = " ".join(head[: -(-len(head) // 2)] + tail[len(tail) // 2 :])
        if question not in given:
            given.add(question)
            yield question
