"""A cross-encoder of random weights, made on the spot."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memory.embedding.mock import MockEmbedder
from memory.embedding.weights import require_packaged_weights
from memory.errors import EmbeddingSetupError
from memory.rerank.cross_encoder import CrossEncoderReranker
from memory.rerank.select import create_reranker
from tests.extras.texts import MIXED

pytestmark = pytest.mark.extras


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def save_model(folder: Path, labels: int = 1, activation: str = "") -> str:
    """A tiny BERT with the tokenizer of all-MiniLM-L6-v2 in `folder`."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        num_labels=labels,
        initializer_range=1.0,
    )
    if activation:
        config.sentence_transformers = {"activation_fn": activation}
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(require_packaged_weights()))
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_scores_are_in_bounds_and_follow_the_texts(tmp_path: Path) -> None:
    reranker = create_reranker("cross_encoder", save_model(tmp_path), MockEmbedder())
    assert reranker is not None
    texts = [*MIXED, "\udc80"]
    scores = reranker.scores("What did Caroline say?\ud800", texts)
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > len(texts) // 2
    assert reranker.scores("What did Caroline say?\ud800", texts[::-1]) == pytest.approx(
        scores[::-1], abs=1e-5
    )
    assert reranker.scores("", [""])[0] == pytest.approx(reranker.scores("", ["", "a"])[0])


@pytest.mark.parametrize("own", ["torch.nn.modules.linear.Identity", "torch.nn.Sigmoid"])
def test_the_models_own_activation_makes_no_difference(tmp_path: Path, own: str) -> None:
    plain = CrossEncoderReranker(save_model(tmp_path / "plain"))
    other = CrossEncoderReranker(save_model(tmp_path / "other", activation=own))
    assert type(other._model.activation_fn).__name__ == own.rpartition(".")[2]
    scores = plain.scores("query", MIXED)
    assert other.scores("query", MIXED) == pytest.approx(scores, abs=1e-6)
    pairs = [("query", text) for text in MIXED]
    assert scores == pytest.approx(plain._model.predict(pairs).tolist(), abs=1e-5)


def test_several_threads_may_use_it(tmp_path: Path) -> None:
    reranker = CrossEncoderReranker(save_model(tmp_path))
    queries = [f"query {i}" for i in range(20)]
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda query: reranker.scores(query, MIXED), queries))
    np.testing.assert_allclose(scores, [reranker.scores(q, MIXED) for q in queries], atol=1e-5)


def test_a_model_of_several_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingSetupError, match="gives 3 figures"):
        CrossEncoderReranker(save_model(tmp_path, labels=3))


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(EmbeddingSetupError, match=r"MEMORY_RERANKER_MODEL_NAME=\./not-there"):
        CrossEncoderReranker("./not-there")
