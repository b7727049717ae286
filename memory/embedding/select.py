"""The configured embedding model, and the one that a store holds vectors of."""

from importlib.util import find_spec
from typing import assert_never

from memory.embedding.google_gemini import GeminiEmbedder
from memory.embedding.mock import MockEmbedder
from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.openai import OpenAIEmbedder
from memory.embedding.protocol import Embedder
from memory.embedding.recipes import Recipe, StoredModel, configured
from memory.embedding.remote import RemoteEmbedder
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


def embedder_of(settings: Settings, model: StoredModel) -> Embedder:
    """What makes vectors of a stored model: as configured if that is it, else by its own recipe.

    Asks a provider for nothing but the dimensions that only it knows. Raises
    `EmbeddingSetupError`, naming the model, when it cannot be made here.
    """
    recipe = recipe_for(settings, model)
    try:
        embedder = create_embedder(recipe.applied_to(settings))
    except EmbeddingSetupError as error:
        raise EmbeddingSetupError(f"{model}, provider {recipe.provider}: {error}") from None
    if isinstance(embedder, RemoteEmbedder):
        embedder.expect(model.dimensions)
    if (embedder.model, embedder.dimensions) != (model.name, model.dimensions):
        raise EmbeddingSetupError(
            f"{model}: {recipe} makes {embedder.model} ({embedder.dimensions} dimensions) here"
        )
    return embedder


def check_recipe(settings: Settings, recipe: Recipe) -> None:
    """Raise `EmbeddingSetupError` when a package or a key for a model is missing here.

    A model that takes long to load is not loaded for it.
    """
    slow = recipe.provider == "sentence_transformer" and find_spec("sentence_transformers")
    if not slow:
        create_embedder(recipe.applied_to(settings))


def recipe_for(settings: Settings, model: StoredModel) -> Recipe:
    """How a stored model is made here: as configured if that is it, else by its own recipe."""
    wished = configured(settings)
    own = model.recipe or wished
    if not model.is_made_by(wished):
        return own
    # Another provider of the same model is taken at its word, and so are dimensions that are set;
    # what is left to the model is known by now.
    return wished if wished.dimensions or wished.provider != own.provider else own


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
