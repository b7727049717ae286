"""Late interaction: each word of the query against its best match in the text.

A text's one vector is the mean of its words and loses the single one that answers. Here the vectors
of the words themselves meet (MaxSim; Khattab and Zaharia, ColBERT, 2020, arXiv:2004.12832), from
the embedding model that is loaded anyway. The constants were chosen by the trial in
`docs/decisions/0006-reranking.md`.
"""

from collections.abc import Sequence

import numpy as np

from memory.embedding.protocol import TokenEmbedder, Vectors
from memory.rerank.token_cache import HalfVectors, TokenCache

CACHE_BYTES = 64 * 2**20
# What a match in the message before counts, beside one in the message itself.
CONTEXT_WEIGHT = 0.8
# The mean cosine that half of all pairs of a question and an unrelated message reach.
UNRELATED = 0.25


class LateInteractionReranker:
    """MaxSim over the token vectors of `embedder`."""

    def __init__(self, embedder: TokenEmbedder, cache_bytes: int = CACHE_BYTES) -> None:
        """Raises `EmbeddingSetupError` when the model has no token vectors after all."""
        self._embedder = embedder
        self._cache = TokenCache(cache_bytes)
        embedder.embed_tokens(["word"])

    def __repr__(self) -> str:
        return "LateInteractionReranker()"

    def scores(self, query: str, texts: Sequence[str], contexts: Sequence[str] = ()) -> list[float]:
        """With `m` the mean, over the query's words, of their best cosine: `(m - 0.25) / 0.75`.

        A word's best cosine is the greatest with a word of the text, or 0.8 times that with a word
        of its context when that is more, and never below 0. Cut to 0..1; 0 for a query or a text
        without words. Raises `ValueError` when there are contexts, but not one a text.
        """
        if contexts and len(contexts) != len(texts):
            raise ValueError(f"{len(contexts)} contexts for {len(texts)} texts")
        (asked,) = self._embedder.embed_tokens([query], "query")
        if not len(asked):
            return [0.0] * len(texts)
        best = self._best(asked, [*texts, *contexts])
        if contexts:
            own, before = best[: len(texts)], best[len(texts) :]
            best = np.maximum(own, CONTEXT_WEIGHT * before)
        related = (best.mean(axis=1) - UNRELATED) / (1 - UNRELATED)
        return [float(score) for score in related.clip(0.0, 1.0)]

    def _best(self, asked: Vectors, texts: Sequence[str]) -> Vectors:
        """The greatest cosine of each word of the query in each text, shape (texts, words)."""
        best = np.zeros((len(texts), len(asked)), dtype=np.float32)
        # Text by text: a product of all would be shared out among threads, which on a busy machine
        # wait for each other eight times as long as one of them takes.
        for row, tokens in zip(best, self._tokens(texts), strict=True):
            row[:] = (tokens.astype(np.float32) @ asked.T).max(axis=0, initial=0.0)
        return best

    def _tokens(self, texts: Sequence[str]) -> list[HalfVectors]:
        known = {text: self._cache.get(text) for text in dict.fromkeys(texts)}
        missing = [text for text, tokens in known.items() if tokens is None]
        computed = self._embedder.embed_tokens(missing) if missing else []
        for text, vectors in zip(missing, computed, strict=True):
            # Half the memory, and cosines that differ by less than 0.001.
            known[text] = halved = vectors.astype(np.float16)
            self._cache.put(text, halved)
        return [tokens for text in texts if (tokens := known[text]) is not None]
