import subprocess
import sys
from typing import get_args

import msgspec
import pytest

from memory.embedding.google_gemini import GeminiEmbedder
from memory.embedding.mock import MockEmbedder
from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.openai import OpenAIEmbedder
from memory.embedding.protocol import Embedder
from memory.errors import EmbeddingSetupError
from memory.rerank.late_interaction import LateInteractionReranker
from memory.rerank.protocol import RerankerName
from memory.rerank.select import create_reranker


def test_none_is_none() -> None:
    assert create_reranker("none", "", MockEmbedder()) is None


def test_late_interaction_reads_with_the_local_models(minilm: OnnxEmbedder) -> None:
    for embedder in (minilm, MockEmbedder()):
        reranker = create_reranker("late_interaction", "", embedder)
        assert isinstance(reranker, LateInteractionReranker)
        first, second = reranker.scores("red boat", ["red boat", "tax"])
        assert first > second


@pytest.mark.parametrize(
    "embedder", [OpenAIEmbedder("k"), GeminiEmbedder("k")], ids=["openai", "gemini"]
)
def test_a_remote_model_gives_no_words(embedder: Embedder) -> None:
    with pytest.raises(EmbeddingSetupError, match=f"MEMORY_RERANKER=.*{embedder.model}.*onnx"):
        create_reranker("late_interaction", "", embedder)


def test_late_interaction_takes_no_model_of_its_own() -> None:
    with pytest.raises(EmbeddingSetupError, match="MEMORY_RERANKER_MODEL_NAME=some/model"):
        create_reranker("late_interaction", "some/model", MockEmbedder())


def test_a_cross_encoder_needs_its_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EmbeddingSetupError, match=r"ai-memory-layer\[sentence-transformers\]"):
        create_reranker("cross_encoder", "", MockEmbedder())


def test_the_names_are_what_a_setting_takes() -> None:
    assert [msgspec.convert(name, RerankerName) for name in get_args(RerankerName)] == [
        "none",
        "late_interaction",
        "cross_encoder",
    ]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("bm25", RerankerName)


def test_no_sdk_is_imported_before_it_is_chosen() -> None:
    code = (
        "import sys, memory.rerank.select; "
        "print({'torch', 'sentence_transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
