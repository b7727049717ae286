"""Checking what a provider answers, so that a wrong answer is never stored."""

from collections.abc import Sequence

import numpy as np

from memory.embedding.protocol import Vectors
from memory.errors import EmbeddingUnavailableError


def unit_vectors(
    provider: str, answer: Sequence[Sequence[float]], count: int, dimensions: int | None
) -> Vectors:
    """`answer` as unit vectors, shape `(count, dimensions)`; any length when that is None.

    Raises `EmbeddingUnavailableError` when `provider` gave too few vectors, of another length, or
    with a number that is not finite, or one that has no direction.
    """
    if len(answer) != count:
        raise EmbeddingUnavailableError(
            f"{provider} answered {len(answer)} vectors for {count} texts"
        )
    try:
        vectors = np.array(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise EmbeddingUnavailableError(f"{provider} answered no vectors of one length") from None
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise EmbeddingUnavailableError(f"{provider} answered no vectors of one length")
    if dimensions not in (None, vectors.shape[1]):
        raise EmbeddingUnavailableError(
            f"{provider} answered vectors of {vectors.shape[1]} dimensions in place of {dimensions}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise EmbeddingUnavailableError(
            f"{provider} answered a vector that is zero or has a number that is not finite"
        )
    return np.asarray(vectors / lengths, dtype=np.float32)
