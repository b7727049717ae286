"""The real local model, loaded once."""

import pytest

from memory.embedding.onnx import OnnxEmbedder
from memory.rerank.late_interaction import LateInteractionReranker


@pytest.fixture(scope="session")
def minilm() -> OnnxEmbedder:
    return OnnxEmbedder()


@pytest.fixture(scope="session")
def late(minilm: OnnxEmbedder) -> LateInteractionReranker:
    return LateInteractionReranker(minilm)
