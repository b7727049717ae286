"""How an embedding model is made, and which model that is."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, assert_never, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from memory.embedding import google_gemini, mock, openai
from memory.embedding.weights import MINILM, MINILM_NAMES
from memory.errors import InvalidFieldError, StateConflictError
from memory.settings import Provider, Settings

MINILM_DIMENSIONS = 384
# For so long after it was the active one, a process may still search with a model.
LINGER = timedelta(seconds=30)


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as an operator names it: what is left out is the provider's default."""

    provider: Provider
    model: Annotated[str, Meta(max_length=512)] = ""
    dimensions: Annotated[int, Meta(ge=1, le=4000)] | None = None

    def __str__(self) -> str:
        named = f"{self.provider}:{self.model}" if self.model else self.provider
        return f"{named} ({self.dimensions} dimensions)" if self.dimensions else named

    def applied_to(self, settings: Settings) -> Settings:
        """`settings` with this model in place of the configured one."""
        return msgspec.structs.replace(
            settings,
            embedding_provider=self.provider,
            embedding_model_name=self.model,
            embedding_dimensions=self.dimensions,
        )

    def identity(self) -> tuple[str, int | None]:
        """The name and the dimensions that its vectors are stored under.

        The dimensions are None where only the model itself, or its provider, knows them.
        """
        match self.provider:
            case "onnx":
                return MINILM, MINILM_DIMENSIONS
            case "sentence_transformer":
                minilm = self.model in {"", *MINILM_NAMES}
                return (MINILM, MINILM_DIMENSIONS) if minilm else (self.model, self.dimensions)
            case "google_gemini":
                name = (self.model or google_gemini.DEFAULT_MODEL).removeprefix("models/")
                return name, self.dimensions or google_gemini.DEFAULT_DIMENSIONS
            case "openai":
                name = self.model or openai.DEFAULT_MODEL
                return name, self.dimensions or openai.KNOWN_DIMENSIONS.get(name)
            case "mock":
                return mock.MockEmbedder.model, self.dimensions or mock.DIMENSIONS
            case provider:
                assert_never(provider)


class StoredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the store knows: its vectors lie there under `id`.

    Searches use the `active` one. While one is `filling`, each new message gets its vectors too.
    `recipe` is None where an earlier version has stored it; `activated_at` where it never was
    the active one.
    """

    id: int
    name: str
    dimensions: int
    active: bool
    filling: bool
    recipe: Recipe | None
    created_at: datetime
    activated_at: datetime | None
    filled_by: UUID | None = None
    """The job that fills it."""

    def __str__(self) -> str:
        return f"{self.name} ({self.dimensions} dimensions)"

    def is_made_by(self, recipe: Recipe) -> bool:
        """Whether `recipe` makes this model, as far as can be told without making it."""
        name, dimensions = recipe.identity()
        return name == self.name and dimensions in (None, self.dimensions)


def configured(settings: Settings) -> Recipe:
    """The model that the settings name."""
    return Recipe(
        provider=settings.embedding_provider,
        model=settings.embedding_model_name,
        dimensions=settings.embedding_dimensions,
    )


def read_recipe(named: str, dimensions: int | None = None) -> Recipe:
    """The model of `provider` or `provider:model`; raises `InvalidFieldError` for any other."""
    provider, _, model = named.partition(":")
    if provider not in get_args(Provider):
        known = ", ".join(get_args(Provider))
        raise InvalidFieldError("provider", f"{provider!r} is none of {known}")
    values = {"provider": provider, "model": model, "dimensions": dimensions}
    try:
        return msgspec.convert(values, Recipe)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise InvalidFieldError(path.rstrip("`"), message) from None


def droppable(
    models: Sequence[StoredModel], name: str, dimensions: int | None, now: datetime
) -> StoredModel:
    """The one of `models` that is called `name`, if its vectors can be done without.

    Raises `InvalidFieldError` when there is none, or several and no `dimensions` to tell them
    apart, and `StateConflictError` when it is in use.
    """
    found = [
        model for model in models if model.name == name and dimensions in (None, model.dimensions)
    ]
    if not found:
        raise InvalidFieldError("name", f"the store has no model {name}")
    if len(found) > 1:
        several = ", ".join(str(model.dimensions) for model in found)
        raise InvalidFieldError("dimensions", f"are needed: there is {name} with {several}")
    check_unused(found[0], models, now)
    return found[0]


def check_unused(model: StoredModel, models: Sequence[StoredModel], now: datetime) -> None:
    """Raise `StateConflictError` when searches use `model`, or may have until a moment ago."""
    if model.active:
        raise StateConflictError(f"{model} is the active model: searches use it.")
    left_at = max(
        (each.activated_at for each in models if each.active and each.activated_at), default=None
    )
    if model.activated_at and left_at and now - left_at < LINGER:
        seconds = LINGER.total_seconds()
        raise StateConflictError(
            f"{model} was the active model until less than {seconds:.0f} s ago:"
            " not every process may have heard of it. Try again in a moment."
        )
