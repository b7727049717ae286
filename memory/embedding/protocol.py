"""What the service asks of an embedding model."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Purpose = Literal["document", "query"]


class Embedder(Protocol):
    """One embedding model. Calls are blocking and safe from several threads."""

    @property
    def model(self) -> str:
        """The name stored with every vector, such as `all-MiniLM-L6-v2`."""

    @property
    def dimensions(self) -> int:
        """The length of every vector."""

    def split(self, text: str) -> list[str]:
        """The overlapping parts of `text` that each fit the model's window; at least one."""

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        """Vectors of unit length, shape `(len(texts), dimensions)`, in the order of `texts`.

        Raises `EmbeddingUnavailableError` when another try may succeed and
        `EmbeddingRejectedError` when it would not.
        """


@runtime_checkable
class TokenEmbedder(Protocol):
    """A model that gives a vector a word piece too. Calls are blocking and safe from threads."""

    def embed_tokens(self, texts: Sequence[str], purpose: Purpose = "document") -> list[Vectors]:
        """For each text, the vectors of its words, shape `(pieces, dimensions)`, of unit length.

        They are those of the last layer, so a piece's vector depends on the text around it.
        Punctuation and the marks that the model adds have none; a text may have no row. What is
        beyond the window is not read. Raises `EmbeddingSetupError` when the model has no layers.
        """
