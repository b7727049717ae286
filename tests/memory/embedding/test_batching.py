from collections.abc import Sequence

import numpy as np

from memory.embedding.batching import embed_contents, embed_queries
from memory.embedding.mock import MockEmbedder
from memory.embedding.protocol import Purpose, Vectors

LONG = "bees " * 1_000 + "honey " * 1_000
CONTENTS = ["bees", LONG, "", "honey"]


class Recording(MockEmbedder):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[list[str], Purpose]] = []

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        self.calls.append((list(texts), purpose))
        return super().embed(texts, purpose)


def test_contents_are_embedded_in_one_call_and_each_gets_its_parts() -> None:
    embedder = Recording()
    vectors = embed_contents(embedder, CONTENTS)
    parts = [part for content in CONTENTS for part in embedder.split(content)]
    assert embedder.calls == [(parts, "document")]
    assert [len(each) for each in vectors] == [1, 2, 1, 1]
    np.testing.assert_array_equal(np.concatenate(vectors), MockEmbedder().embed(parts))


def test_queries_are_embedded_in_one_call_and_each_gets_its_own() -> None:
    embedder = Recording()
    vectors = embed_queries(embedder, CONTENTS)
    assert [purpose for _, purpose in embedder.calls] == ["query"]
    for content, vector in zip(CONTENTS, vectors, strict=True):
        np.testing.assert_array_equal(vector, embed_queries(embedder, [content])[0])
        assert vector.dtype == np.float32


def test_a_long_query_is_the_mean_of_its_parts() -> None:
    embedder = MockEmbedder()
    first, last = embedder.embed(embedder.split(LONG))
    (vector,) = embed_queries(embedder, [LONG])
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)
    np.testing.assert_allclose(vector @ first, vector @ last, atol=1e-6)
    assert vector @ last > 0.5


def test_nothing_is_asked_for_no_query() -> None:
    assert embed_queries(MockEmbedder(), []) == []
