import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from memory.errors import EmbeddingSetupError
from memory.rerank.cross_encoder import DEFAULT_MODEL, CrossEncoderReranker

Pairs = list[tuple[str, str]]


class FakeCrossEncoder:
    """Its logit is the length of a text; its own activation would spoil it."""

    num_labels = 1

    def __init__(self, name: str) -> None:
        if name == "not/there":
            raise OSError("no such model")
        self.name = name
        self.num_labels = 3 if name == "a/classifier" else 1
        self.pairs: Pairs = []

    def predict(
        self, pairs: Pairs, *, activation_fn: Callable[[Any], Any], show_progress_bar: bool
    ) -> Any:
        assert not show_progress_bar
        self.pairs = pairs
        return activation_fn(np.array([float(len(text)) - 3 for _, text in pairs], np.float32))


@pytest.fixture(autouse=True)
def fake_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = SimpleNamespace(CrossEncoder=FakeCrossEncoder)
    monkeypatch.setitem(sys.modules, "sentence_transformers", sdk)


def test_a_score_is_the_logistic_function_of_the_logit() -> None:
    scores = CrossEncoderReranker().scores("q", ["", "abc", "abcdef"])
    assert scores == pytest.approx([1 / (1 + math.exp(3)), 0.5, 1 / (1 + math.exp(-3))])
    assert CrossEncoderReranker().scores("q", ["x" * 5000]) == [1.0]
    assert CrossEncoderReranker().scores("q", []) == []


def test_what_no_tokenizer_takes_is_replaced() -> None:
    reranker = CrossEncoderReranker()
    reranker.scores("\ud800", ["a\udc80"], ["context"])
    assert reranker._model.pairs == [("?", "a?")]


def test_the_model_is_the_one_named() -> None:
    assert repr(CrossEncoderReranker("some/model")) == "CrossEncoderReranker('some/model')"
    assert CrossEncoderReranker("some/model")._model.name == "some/model"
    assert CrossEncoderReranker()._model.name == DEFAULT_MODEL


def test_a_model_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(EmbeddingSetupError, match="MODEL_NAME=not/there cannot be loaded: no such"):
        CrossEncoderReranker("not/there")


def test_a_classifier_is_no_reranker() -> None:
    with pytest.raises(EmbeddingSetupError, match="a/classifier gives 3 figures"):
        CrossEncoderReranker("a/classifier")
