"""The configured embedding model."""

from typing import assert_never

from memory.embedding.google_gemini import GeminiEmbedder
from memory.embedding.mock import MockEmbedder
from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.openai import OpenAIEmbedder
from memory.embedding.protocol import Embedder
from memory.embedding.sentence_transformer import SentenceTransformerEmbedder
from memory.embedding.weights import MINILM, MINILM_NAMES
from memory.errors import EmbeddingSetupError
from memory.settings import Settings


def create_embedder(settings: Settings, *, threads: int | None = None) -> Embedder:
    """The model that `settings.embedding_provider` names; `threads` are those of `onnx`.

    Asks no provider anything. Raises `EmbeddingSetupError` when a package, a key or the weights
    are missing, or the settings ask for what the model cannot give.
    """
    name, dimensions = settings.embedding_model_name, settings.embedding_dimensions
    match settings.embedding_provider:
        case "onnx":
            _check_minilm(name)
            return _of_dimensions(OnnxEmbedder(threads=threads), dimensions)
        case "sentence_transformer":
            return _of_dimensions(SentenceTransformerEmbedder(name), dimensions)
        case "google_gemini":
            return GeminiEmbedder(
                settings.gemini_api_key, name, dimensions, settings.gemini_base_url
            )
        case "openai":
            return OpenAIEmbedder(
                settings.openai_api_key,
                name,
                dimensions,
                settings.openai_base_url,
                settings.openai_api_version,
            )
        case "mock":
            return MockEmbedder(dimensions) if dimensions else MockEmbedder()
        case provider:
            assert_never(provider)


def _check_minilm(name: str) -> None:
    if name and name not in MINILM_NAMES:
        raise EmbeddingSetupError(
            f"MEMORY_EMBEDDING_MODEL_NAME={name}: the onnx provider has {MINILM} only; "
            "MEMORY_EMBEDDING_PROVIDER=sentence_transformer takes any model"
        )


def _of_dimensions(embedder: Embedder, wanted: int | None) -> Embedder:
    if wanted not in (None, embedder.dimensions):
        raise EmbeddingSetupError(
            f"MEMORY_EMBEDDING_DIMENSIONS={wanted}: {embedder.model} gives {embedder.dimensions}; "
            "leave it unset to follow the model"
        )
    return embedder
