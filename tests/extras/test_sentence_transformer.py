from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from memory.embedding.select import create_embedder
from memory.embedding.sentence_transformer import SentenceTransformerEmbedder
from memory.embedding.weights import MINILM_NAMES, require_packaged_weights
from memory.errors import EmbeddingSetupError
from memory.settings import Settings
from tests.extras.texts import MIXED

pytestmark = pytest.mark.extras


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.parametrize("name", ["", *sorted(MINILM_NAMES)])
def test_the_default_model_is_the_packaged_one(name: str) -> None:
    embedder = create_embedder(
        Settings(embedding_provider="sentence_transformer", embedding_model_name=name)
    )
    assert (embedder.model, embedder.dimensions) == ("all-MiniLM-L6-v2", 384)


def test_vectors_are_of_unit_length_in_the_order_of_the_texts(
    reference: SentenceTransformerEmbedder,
) -> None:
    vectors = reference.embed(MIXED, "query")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([reference.embed([text]) for text in MIXED])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert reference.embed([]).shape == (0, 384)


def test_a_folder_is_a_model_too() -> None:
    folder = str(require_packaged_weights())
    embedder = SentenceTransformerEmbedder(folder)
    assert (embedder.model, embedder.dimensions) == (folder, 384)


def test_several_threads_may_use_it(reference: SentenceTransformerEmbedder) -> None:
    texts = [f"text {i} " * (i % 9 + 1) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(lambda text: reference.embed(reference.split(text))[0], texts))
    np.testing.assert_allclose(vectors, reference.embed(texts), atol=1e-5)


def test_a_model_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EmbeddingSetupError, match=r"MODEL_NAME=\./not-there"):
        SentenceTransformerEmbedder("./not-there")


def test_dimensions_follow_the_model() -> None:
    settings = Settings(embedding_provider="sentence_transformer", embedding_dimensions=128)
    with pytest.raises(EmbeddingSetupError, match="MEMORY_EMBEDDING_DIMENSIONS"):
        create_embedder(settings)
