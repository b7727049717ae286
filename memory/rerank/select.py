"""The configured reranker."""

from typing import assert_never

from memory.embedding.protocol import Embedder, TokenEmbedder
from memory.errors import EmbeddingSetupError
from memory.rerank.cross_encoder import CrossEncoderReranker
from memory.rerank.late_interaction import LateInteractionReranker
from memory.rerank.protocol import Reranker, RerankerName


def create_reranker(name: RerankerName, model_name: str, embedder: Embedder) -> Reranker | None:
    """The reranker called `name`, None for `none`; `model_name` is for `cross_encoder` alone.

    Raises `EmbeddingSetupError` when a package or a model is missing, or `embedder` cannot give
    what the reranker needs.
    """
    match name:
        case "none":
            return None
        case "late_interaction":
            return _late_interaction(model_name, embedder)
        case "cross_encoder":
            return CrossEncoderReranker(model_name)
        case other:
            assert_never(other)


def _late_interaction(model_name: str, embedder: Embedder) -> Reranker:
    if model_name:
        raise EmbeddingSetupError(
            f"MEMORY_RERANKER_MODEL_NAME={model_name}: late_interaction reads with the embedding "
            "model; leave it unset, or set MEMORY_RERANKER=cross_encoder"
        )
    if not isinstance(embedder, TokenEmbedder):
        raise EmbeddingSetupError(
            f"MEMORY_RERANKER=late_interaction needs the vectors of single words, which "
            f"{embedder.model} does not give: set MEMORY_EMBEDDING_PROVIDER to onnx or "
            "sentence_transformer, or MEMORY_RERANKER to cross_encoder or none"
        )
    return LateInteractionReranker(embedder)
