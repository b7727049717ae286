"""The vectors of single words, of each local provider."""

import numpy as np
import pytest

from memory.embedding.mock import MockEmbedder
from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.protocol import TokenEmbedder
from memory.embedding.text import is_word


@pytest.fixture(params=["onnx", "mock"])
def embedder(request: pytest.FixtureRequest, minilm: OnnxEmbedder) -> OnnxEmbedder | MockEmbedder:
    return minilm if request.param == "onnx" else MockEmbedder()


def test_a_word_has_a_unit_vector_and_punctuation_none(
    embedder: OnnxEmbedder | MockEmbedder,
) -> None:
    assert isinstance(embedder, TokenEmbedder)
    tokens = embedder.embed_tokens(["Oh, red boats!", "", "?!", "a " * 60, "red"])
    assert [vectors.shape for vectors in tokens] == [
        (count, embedder.dimensions) for count in (3, 0, 0, 60, 1)
    ]
    for vectors in tokens:
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert embedder.embed_tokens([]) == []


def test_a_vector_is_the_one_that_sentence_transformers_gives(minilm: OnnxEmbedder) -> None:
    (tokens,) = minilm.embed_tokens(["What did Caroline paint last week?"])
    caroline = [-0.0155778, 0.025295, 0.0100098, 0.004811, -0.0408968, 0.0186036]
    assert tokens.shape == (6, 384)
    np.testing.assert_allclose(tokens[2, :6], caroline, atol=1e-6)


def test_texts_beside_it_change_no_vector(minilm: OnnxEmbedder) -> None:
    texts = [f"the {'very ' * (i * 7 % 40)} last of {i}" for i in range(40)]
    for text, vectors in zip(texts, minilm.embed_tokens(texts), strict=True):
        np.testing.assert_allclose(vectors, minilm.embed_tokens([text])[0], atol=5e-6)


def test_the_words_around_it_change_a_vector(minilm: OnnxEmbedder) -> None:
    money, flood = minilm.embed_tokens(
        ["the bank lent us money", "the bank was flooded by the river"]
    )
    assert money[1] @ flood[1] < 0.95


def test_the_mean_of_all_pieces_is_the_vector_of_the_text(minilm: OnnxEmbedder) -> None:
    # Without punctuation only the two marks at the ends are missing.
    text = "we painted a sunset together last weekend and sent a picture of it to everyone we know"
    (tokens,) = minilm.embed_tokens([text])
    mean = tokens.mean(axis=0)
    assert mean @ minilm.embed([text])[0] / np.linalg.norm(mean) > 0.98


def test_only_the_window_is_read(minilm: OnnxEmbedder) -> None:
    within, beyond = minilm.embed_tokens(["word " * 254, "word " * 400])
    assert len(within) == 254
    np.testing.assert_allclose(within, beyond, atol=1e-5)


@pytest.mark.parametrize("piece", ["a", "##ing", "7", "字", "##\u093e", "Ġthe", "▁the", "[UNK]"])
def test_a_piece_of_a_word(piece: str) -> None:
    assert is_word(piece)


@pytest.mark.parametrize("piece", ["?", "##,", "Ġ?", "▁", "Ġ", "$", "—", ""])
def test_not_a_piece_of_a_word(piece: str) -> None:
    assert not is_word(piece)
