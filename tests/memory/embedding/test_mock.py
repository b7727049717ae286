import numpy as np
import pytest

from memory.embedding.mock import MockEmbedder


def test_the_same_text_has_the_same_unit_vector_everywhere() -> None:
    vector = MockEmbedder(4).embed(["Hello, world"])[0]
    np.testing.assert_allclose(vector, MockEmbedder(4).embed(["hello WORLD!"])[0])
    np.testing.assert_allclose(vector, [-0.367996, -0.520271, -0.710614, -0.298204], atol=1e-6)


def test_shared_words_bring_texts_together() -> None:
    query, near, far = MockEmbedder().embed(
        ["the red boat sails", "a red boat", "quarterly tax figures"], "query"
    )
    assert query @ near > 0.4
    assert abs(query @ far) < 0.3


@pytest.mark.parametrize("text", ["", "\0", "🐈", "\udc80", "... !"])
def test_a_text_without_words_has_a_vector_too(text: str) -> None:
    vectors = MockEmbedder().embed([text, "word"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_its_name_and_dimensions() -> None:
    embedder = MockEmbedder()
    assert (embedder.model, embedder.dimensions) == ("mock", 384)
    assert embedder.embed([]).shape == (0, 384)
    assert embedder.split("short") == ["short"]
