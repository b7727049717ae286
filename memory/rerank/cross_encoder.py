"""Any cross-encoder of sentence-transformers (`ai-memory-layer[sentence-transformers]`)."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from memory.embedding.text import well_formed
from memory.errors import EmbeddingSetupError

DEFAULT_MODEL = "cross-encoder/ms-marco-MiniLM-L6-v2"


class CrossEncoderReranker:
    """A model that reads query and text at once, by its name or its folder."""

    def __init__(self, model: str = "") -> None:
        """Load `model` (default: ms-marco-MiniLM-L6-v2), from the network if it is not here.

        Raises `EmbeddingSetupError` when the SDK is missing, the model cannot be loaded or it
        gives anything but one score.
        """
        try:
            from sentence_transformers import CrossEncoder  # noqa: PLC0415 (optional)
        except ImportError as error:
            raise EmbeddingSetupError(
                "sentence-transformers is not installed: "
                "pip install 'ai-memory-layer[sentence-transformers]'"
            ) from error
        self.model = model or DEFAULT_MODEL
        named = f"MEMORY_RERANKER_MODEL_NAME={self.model}"
        try:
            self._model: Any = CrossEncoder(self.model)
        except Exception as error:  # Hub, file and format errors share no narrower class.
            raise EmbeddingSetupError(f"{named} cannot be loaded: {error}") from error
        if self._model.num_labels != 1:
            raise EmbeddingSetupError(
                f"{named} gives {self._model.num_labels} figures a text; a reranker gives one"
            )
        # The tokenizer is not safe from several threads.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"CrossEncoderReranker({self.model!r})"

    def scores(
        self,
        query: str,
        texts: Sequence[str],
        contexts: Sequence[str] = (),  # noqa: ARG002
    ) -> list[float]:
        """The logistic function of the model's figure for each text; contexts are not read."""
        if not texts:
            return []
        pairs = [(well_formed(query), well_formed(text)) for text in texts]
        with self._lock:
            # Some models end in a logistic function of their own and some in none: ask before it.
            logits = self._model.predict(
                pairs, activation_fn=lambda logits: logits, show_progress_bar=False
            )
        return [float(score) for score in _logistic(np.asarray(logits, dtype=np.float64))]


def _logistic(logits: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    # By way of tanh, which does not overflow.
    return 0.5 * (1.0 + np.tanh(0.5 * logits))
