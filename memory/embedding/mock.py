"""A provider for tests and demonstrations: needs no model, gives the same vectors everywhere."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from memory.embedding.protocol import Purpose, Vectors
from memory.embedding.text import split_by_bytes, well_formed

DIMENSIONS = 384


class MockEmbedder:
    """A hashed bag of words: the more words two texts share, the nearer their vectors."""

    model = "mock"

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions

    def split(self, text: str) -> list[str]:
        """Parts of at most 6,000 bytes."""
        return split_by_bytes(text)

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:  # noqa: ARG002
        """Unit vectors, shape `(len(texts), dimensions)`."""
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            # The empty word stands in a text without words, whose vector would have no direction.
            for word in _words(text) or [""]:
                vector += _direction(word, self.dimensions)
            vector /= np.linalg.norm(vector)
        return vectors

    def embed_tokens(self, texts: Sequence[str], purpose: Purpose = "document") -> list[Vectors]:  # noqa: ARG002
        """For each text a unit vector a word, whatever stands beside it."""
        tokens = []
        for text in texts:
            rows = [_direction(word, self.dimensions) for word in _words(text)]
            vectors = np.array(rows, dtype=np.float32).reshape(-1, self.dimensions)
            tokens.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        return tokens


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", well_formed(text).casefold())


def _direction(word: str, dimensions: int) -> Vectors:
    noise = hashlib.shake_128(word.encode()).digest(dimensions)
    return np.frombuffer(noise, dtype=np.int8) + np.float32(0.5)
