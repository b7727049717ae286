"""The packaged weights, as sentence-transformers itself reads them."""

import pytest

from memory.embedding.sentence_transformer import SentenceTransformerEmbedder


@pytest.fixture(scope="session")
def reference() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder()
