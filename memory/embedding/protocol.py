"""What the service asks of an embedding model."""

from collections.abc import Sequence
from typing import Literal, Protocol

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
