import sys

import pytest

from memory.embedding.sentence_transformer import SentenceTransformerEmbedder
from memory.errors import EmbeddingSetupError


def test_without_the_sdk_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EmbeddingSetupError, match=r"ai-memory-layer\[sentence-transformers\]"):
        SentenceTransformerEmbedder()
