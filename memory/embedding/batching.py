"""Embedding whole contents, long ones in parts."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from memory import tracing
from memory.embedding.protocol import Embedder, Purpose, Vectors


def embed_contents(
    embedder: Embedder, contents: Sequence[str], purpose: Purpose = "document"
) -> list[Vectors]:
    """The vectors of each content, one array of shape (parts, dimensions) a content."""
    known: tracing.Attributes = {
        "gen_ai.request.model": embedder.model,
        "memory.messages": len(contents),
    }
    with tracing.child("embed messages", attributes=known):
        parts = [embedder.split(content) for content in contents]
        vectors = embedder.embed([part for of_one in parts for part in of_one], purpose)
    ends = accumulate((len(of_one) for of_one in parts), initial=0)
    return [vectors[start:end] for start, end in pairwise(ends)]


def embed_queries(embedder: Embedder, queries: Sequence[str]) -> list[Vectors]:
    """The unit vector of each query, shape (dimensions,).

    A query longer than the model's window is the mean of its parts, so that none of it is lost.
    """
    means = [vectors.mean(axis=0) for vectors in embed_contents(embedder, queries, "query")]
    return [
        np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)
        for mean in means
    ]
