import subprocess
import sys

import pytest

from memory.embedding.select import create_embedder
from memory.errors import EmbeddingSetupError
from memory.settings import Settings


@pytest.mark.parametrize(
    ("settings", "model", "dimensions"),
    [
        ({}, "all-MiniLM-L6-v2", 384),
        ({"embedding_dimensions": 384}, "all-MiniLM-L6-v2", 384),
        (
            {"embedding_model_name": "sentence-transformers/all-MiniLM-L6-v2"},
            "all-MiniLM-L6-v2",
            384,
        ),
        ({"embedding_provider": "mock"}, "mock", 384),
        ({"embedding_provider": "mock", "embedding_dimensions": 16}, "mock", 16),
        (
            {"embedding_provider": "google_gemini", "gemini_api_key": "k"},
            "gemini-embedding-001",
            768,
        ),
        (
            {
                "embedding_provider": "openai",
                "openai_api_key": "k",
                "embedding_model_name": "text-embedding-3-large",
                "embedding_dimensions": 256,
            },
            "text-embedding-3-large",
            256,
        ),
    ],
)
def test_the_settings_choose_the_model(
    settings: dict[str, object], model: str, dimensions: int
) -> None:
    embedder = create_embedder(Settings(**settings))  # type: ignore[arg-type]
    assert (embedder.model, embedder.dimensions) == (model, dimensions)


def test_dimensions_that_the_model_does_not_give_are_refused() -> None:
    with pytest.raises(EmbeddingSetupError, match=r"MEMORY_EMBEDDING_DIMENSIONS=768.*384"):
        create_embedder(Settings(embedding_dimensions=768))


def test_another_model_is_refused_with_the_provider_that_takes_it() -> None:
    with pytest.raises(EmbeddingSetupError, match="sentence_transformer"):
        create_embedder(Settings(embedding_model_name="BAAI/bge-small-en-v1.5"))


def test_no_sdk_is_imported_before_it_is_chosen() -> None:
    code = (
        "import sys, memory.embedding.select; "
        "print({'openai', 'google.genai', 'torch', 'sentence_transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
