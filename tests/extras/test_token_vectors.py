import numpy as np
import pytest

from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.sentence_transformer import SentenceTransformerEmbedder
from memory.errors import EmbeddingSetupError
from memory.rerank.select import create_reranker
from tests.extras.texts import LENGTHS, MIXED

pytestmark = pytest.mark.extras


def test_the_graph_gives_the_words_of_sentence_transformers(
    reference: SentenceTransformerEmbedder,
) -> None:
    texts = MIXED + LENGTHS
    theirs = reference.embed_tokens(texts)
    for text, ours, other in zip(texts, OnnxEmbedder().embed_tokens(texts), theirs, strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=2e-5, err_msg=text)
    assert reference.embed_tokens([]) == []


def test_late_interaction_scores_alike(reference: SentenceTransformerEmbedder) -> None:
    query = "What did Caroline say about the support group?"
    scores = []
    for embedder in (OnnxEmbedder(), reference):
        reranker = create_reranker("late_interaction", "", embedder)
        assert reranker is not None
        scores.append(reranker.scores(query, MIXED, MIXED[::-1]))
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_a_model_of_whole_texts_only_is_refused(
    reference: SentenceTransformerEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference._model, "encode", lambda texts, **_: [{"sentence_embedding": 1}])
    with pytest.raises(EmbeddingSetupError, match="no vectors of single words"):
        create_reranker("late_interaction", "", reference)
