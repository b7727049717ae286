"""What the providers behind an HTTP API have in common."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from memory.embedding.breaker import CAUTION, Breaker, Caution, Listener
from memory.embedding.protocol import Purpose, Vectors
from memory.embedding.retrying import (
    DOCUMENT_PATIENCE,
    QUERY_PATIENCE,
    Patience,
    TemporaryFailureError,
    retry_after,
    with_retries,
)
from memory.embedding.text import split_by_bytes, well_formed
from memory.embedding.vectors import unit_vectors
from memory.errors import EmbeddingError, EmbeddingRejectedError, EmbeddingSetupError
from memory.interrupts import interrupt_behind

# Gemini takes 100 texts at once; OpenAI 300,000 pieces, which a byte bounds from above.
BATCH_TEXTS = 100
BATCH_BYTES = 250_000
REASON_CHARACTERS = 300


class RemoteEmbedder(ABC):
    """Batches, retries and checks; a provider adds the request itself.

    One that fails again and again is left alone for a while: then each call raises at once.
    """

    provider: str
    """What errors call it."""
    key_variable: str

    def __init__(
        self,
        model: str,
        dimensions: int | None,
        api_key: str,
        document_patience: Patience = DOCUMENT_PATIENCE,
        query_patience: Patience = QUERY_PATIENCE,
        caution: Caution = CAUTION,
    ) -> None:
        self.model = model
        self._dimensions = dimensions
        self._api_key = api_key
        self._patience = {"document": document_patience, "query": query_patience}
        self._breaker = Breaker(self.provider, caution)

    @property
    def dimensions(self) -> int:
        """As configured or known; otherwise asked of the provider, once."""
        if self._dimensions is None:
            probe = self._embed_batch(["dimensions"], "document", None)
            self._dimensions = probe.shape[1]
        return self._dimensions

    def expect(self, dimensions: int) -> None:
        """Take its vectors to have so many dimensions, unless it is known; asks nobody."""
        self._dimensions = self._dimensions or dimensions

    @property
    def breaker_state(self) -> int:
        """Of the breaker before the provider: 0 closed, 1 trying again, 2 open."""
        return self._breaker.state

    @property
    def obstacle(self) -> str:
        """Why the provider is left alone now; empty when it is not."""
        return self._breaker.obstacle

    def on_breaker(self, listener: Listener) -> None:
        """Call `listener` with the provider and `breaker_state`, now and at each change."""
        self._breaker.listen(listener)

    def check_answers(self, *, lately: bool = False) -> None:
        """Raise `EmbeddingUnavailableError` when there would be no answer.

        A provider whose last try failed is asked with a word, once; `lately` asks also one that
        has not answered in the last ten seconds.
        """
        if not (self._breaker.in_doubt or (lately and not self._breaker.answered_lately)):
            return
        timeout = self._patience["document"].timeout
        with contextlib.suppress(EmbeddingRejectedError, EmbeddingSetupError):
            self._breaker.call(lambda: self._request(["ready"], "document", timeout))

    def split(self, text: str) -> list[str]:
        """Parts of at most 6,000 bytes, 300 characters shared."""
        return split_by_bytes(text)

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        """Unit vectors, shape `(len(texts), dimensions)`.

        Retries end 20 seconds after the call began (3 for a query), and a try 20 (3) after that.
        Raises `EmbeddingSetupError` too: a wrong key, model or URL shows in the first answer only.
        """
        dimensions = self.dimensions
        deadline = time.monotonic() + self._patience[purpose].budget
        batches = [self._embed_batch(batch, purpose, deadline) for batch in _batches(texts)]
        return np.concatenate([np.empty((0, dimensions), dtype=np.float32), *batches])

    @abstractmethod
    def _request(
        self, texts: list[str], purpose: Purpose, timeout: float
    ) -> Sequence[Sequence[float]]:
        """The provider's answer for one batch, in its order.

        Raises what `_failure` gives for an error that the provider answered and
        `TemporaryFailureError` when there was no answer within `timeout` seconds.
        """

    def _embed_batch(self, texts: list[str], purpose: Purpose, deadline: float | None) -> Vectors:
        patience = self._patience[purpose]
        answer = with_retries(
            lambda: self._breaker.call(lambda: self._request(texts, purpose, patience.timeout)),
            patience,
            deadline,
        )
        return unit_vectors(self.provider, answer, len(texts), self._dimensions)

    def _failure(
        self, status: int | None, reason: object, headers: Mapping[str, str]
    ) -> EmbeddingError:
        """The error for an HTTP status that is not a success; it never holds the key.

        Its message has none of the provider's words, which may quote what it was sent.
        """
        shown = f"{self.provider} answered {status}"
        if status in (401, 403):
            return EmbeddingSetupError(f"{shown}: {self.key_variable} is not accepted")
        said = self._as_a_row_holds_it(str(reason or ""))
        if status == 404:
            return EmbeddingSetupError(
                f"{shown} (is the URL right, and MEMORY_EMBEDDING_MODEL_NAME={self.model}?)", said
            )
        if status is None or status in (408, 409, 425, 429) or status >= 500:
            return TemporaryFailureError(shown, said, retry_after(headers))
        return EmbeddingRejectedError(shown, said)

    def _as_a_row_holds_it(self, said: str) -> str:
        said = well_formed(said).replace("\0", "")
        if self._api_key:
            said = said.replace(self._api_key, "(key)")
        return said[:REASON_CHARACTERS]

    def _no_answer(self, error: Exception) -> BaseException:
        """The error for a transport that failed; its text may hold the URL, so only its kind.

        What interrupted it is not the provider's fault, and never tried again: it is the error.
        """
        if interrupt := interrupt_behind(error):
            return interrupt
        return TemporaryFailureError(f"{self.provider} gave no answer ({type(error).__name__})")


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """`texts` in order, as many at once as an API takes; a blank stands for an empty one."""
    batch: list[str] = []
    room = BATCH_BYTES
    for text in texts:
        # Any API refuses an empty text.
        sent = well_formed(text) or " "
        size = len(sent.encode())
        if batch and (len(batch) == BATCH_TEXTS or size > room):
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append(sent)
        room -= size
    if batch:
        yield batch
