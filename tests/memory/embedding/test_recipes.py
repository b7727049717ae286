"""Which model a recipe makes, and which stored model may be dropped."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from memory.embedding.mock import MockEmbedder
from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.openai import OpenAIEmbedder
from memory.embedding.recipes import Recipe, StoredModel, configured, droppable, read_recipe
from memory.embedding.select import check_recipe, create_embedder, embedder_of
from memory.errors import EmbeddingSetupError, InvalidFieldError, StateConflictError
from memory.settings import Settings

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEYS = Settings(openai_api_key="k", gemini_api_key="k")


def model(name: str = "mock", dimensions: int = 384, **changes: Any) -> StoredModel:
    """A stored model; the mock's unless it is told otherwise."""
    values: dict[str, Any] = {
        "id": 1,
        "active": False,
        "filling": False,
        "recipe": Recipe(provider="mock"),
        "created_at": NOW,
        "activated_at": None,
    }
    return StoredModel(name=name, dimensions=dimensions, **{**values, **changes})


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(provider="onnx"),
        Recipe(provider="mock"),
        Recipe(provider="mock", dimensions=8),
        Recipe(provider="google_gemini"),
        Recipe(provider="google_gemini", model="models/text-embedding-004", dimensions=256),
        Recipe(provider="openai"),
        Recipe(provider="openai", model="text-embedding-3-large"),
        Recipe(provider="openai", model="text-embedding-3-large", dimensions=256),
        Recipe(provider="openai", model="my-own", dimensions=77),
    ],
    ids=str,
)
def test_a_recipe_knows_what_it_makes(recipe: Recipe) -> None:
    embedder = create_embedder(recipe.applied_to(KEYS))
    assert recipe.identity() == (embedder.model, embedder.dimensions)


def test_what_only_the_model_knows_is_left_open() -> None:
    assert Recipe(provider="openai", model="my-own").identity() == ("my-own", None)
    own = Recipe(provider="sentence_transformer", model="BAAI/bge-small-en-v1.5")
    assert own.identity() == ("BAAI/bge-small-en-v1.5", None)
    assert Recipe(provider="sentence_transformer").identity() == ("all-MiniLM-L6-v2", 384)


@pytest.mark.parametrize(
    ("named", "recipe"),
    [
        ("openai", Recipe(provider="openai")),
        ("openai:nomic-embed-text:v1", Recipe(provider="openai", model="nomic-embed-text:v1")),
    ],
)
def test_a_model_is_named_by_its_provider(named: str, recipe: Recipe) -> None:
    assert read_recipe(named) == recipe
    assert read_recipe(named, 256) == msgspec.structs.replace(recipe, dimensions=256)


@pytest.mark.parametrize(
    ("named", "dimensions", "field"),
    [("gemini", None, "provider"), ("", None, "provider"), ("mock", 0, "dimensions")],
)
def test_what_names_no_model_is_said(named: str, dimensions: int | None, field: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        read_recipe(named, dimensions)
    assert refused.value.field == field


def test_a_stored_model_is_made_by_its_recipe() -> None:
    stored = model(dimensions=8, recipe=Recipe(provider="mock", dimensions=8))
    assert embedder_of(Settings(), stored).dimensions == 8


def test_settings_that_name_the_stored_model_count() -> None:
    """Another provider of the same model may be chosen by them."""
    stored = model("all-MiniLM-L6-v2", 384, recipe=Recipe(provider="sentence_transformer"))
    assert isinstance(embedder_of(Settings(), stored), OnnxEmbedder)
    assert isinstance(embedder_of(Settings(embedding_provider="mock"), model()), MockEmbedder)


def test_a_stored_models_dimensions_are_not_asked_for() -> None:
    recipe = Recipe(provider="openai", model="my-own")
    nowhere = Settings(openai_base_url="http://127.0.0.1:1/v1")
    assert embedder_of(nowhere, model("my-own", 77, recipe=recipe)).dimensions == 77


def test_dimensions_that_were_not_asked_for_are_not_sent() -> None:
    """Many servers refuse the parameter."""
    own = model("my-own", 77, recipe=Recipe(provider="openai", model="my-own"))
    reduced = model("my-own", 77, recipe=Recipe(provider="openai", model="my-own", dimensions=77))
    for stored, sent in ((own, False), (reduced, True)):
        embedder = embedder_of(KEYS, stored)
        assert isinstance(embedder, OpenAIEmbedder)
        assert (embedder._reduced == 77) is sent


def test_a_model_that_cannot_be_made_is_named() -> None:
    stored = model("text-embedding-3-small", 1536, recipe=Recipe(provider="openai"))
    with pytest.raises(EmbeddingSetupError, match=r"text-embedding-3-small \(1536 .* is not set"):
        embedder_of(Settings(), stored)
    with pytest.raises(EmbeddingSetupError, match=r"mock \(9 dimensions\): mock makes mock \(384"):
        embedder_of(Settings(), model(dimensions=9))


def test_what_a_model_lacks_is_found_without_loading_it() -> None:
    with pytest.raises(EmbeddingSetupError, match="MEMORY_OPENAI_API_KEY"):
        check_recipe(Settings(), Recipe(provider="openai"))
    check_recipe(KEYS, Recipe(provider="openai"))
    assert configured(KEYS) == Recipe(provider="onnx")


@pytest.mark.parametrize("seconds", [0, 29.9])
def test_a_model_that_was_active_a_moment_ago_may_not_be_dropped(seconds: float) -> None:
    was = model(activated_at=NOW - timedelta(days=1))
    now_active = model(dimensions=8, active=True, activated_at=NOW)
    with pytest.raises(StateConflictError, match="until less than 30 s ago"):
        droppable([was, now_active], "mock", 384, NOW + timedelta(seconds=seconds))


def test_what_nobody_uses_may_be_dropped() -> None:
    was = model(activated_at=NOW - timedelta(days=1))
    never = model(dimensions=7)
    now_active = model(dimensions=8, active=True, activated_at=NOW)
    models = [was, never, now_active]
    assert droppable(models, "mock", 384, NOW + timedelta(seconds=30)) is was
    assert droppable(models, "mock", 7, NOW) is never
    with pytest.raises(StateConflictError, match="is the active model"):
        droppable(models, "mock", 8, NOW)
    with pytest.raises(InvalidFieldError, match="there is mock with 384, 7, 8"):
        droppable(models, "mock", None, NOW)
    with pytest.raises(InvalidFieldError, match="no model other"):
        droppable(models, "other", None, NOW)
