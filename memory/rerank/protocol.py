"""What the service asks of a reranker."""

from collections.abc import Sequence
from typing import Literal, Protocol

RerankerName = Literal["none", "late_interaction", "cross_encoder"]


class Reranker(Protocol):
    """Reads a query and a text together. Calls are blocking and safe from several threads.

    Its `repr` names the model and is the same in every process: what the same scores come from.
    """

    def scores(self, query: str, texts: Sequence[str], contexts: Sequence[str] = ()) -> list[float]:
        """How well each of `texts` answers `query`, in 0..1, in their order; higher is better.

        A score depends on nothing but the query, the text and its context, so that scores of
        several calls compare. `contexts`, when given, holds what was said just before each text
        ("" for nothing); a reranker may pay no heed to it. What is beyond the model's window is
        not read.
        """
