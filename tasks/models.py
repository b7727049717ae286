"""The store's embedding models, as one process has them at hand."""

import contextlib
import threading
from collections.abc import Sequence

import structlog
from sqlalchemy import Engine

from db.models import active_model, register_model
from db.queries.models import wanted_models
from memory.embedding.protocol import Embedder
from memory.embedding.recipes import StoredModel, configured
from memory.embedding.remote import RemoteEmbedder
from memory.embedding.select import create_embedder, embedder_of, recipe_for
from memory.errors import EmbeddingSetupError, EmbeddingUnavailableError
from memory.settings import Settings
from tasks.metrics import WorkMetrics

log = structlog.get_logger(__name__)


class Models:
    """Which models are wanted stands in the store; their embedders are loaded when first used.

    The settings choose the model of a new store. Safe from several threads.
    """

    def __init__(self, settings: Settings, engine: Engine, metrics: WorkMetrics) -> None:
        self._settings = settings
        self._engine = engine
        self._metrics = metrics
        self._embedders: dict[int, Embedder] = {}
        self.last_wanted: list[StoredModel] = []
        """What `wanted` said last, for who need not ask the store again."""
        self._lock = threading.RLock()
        self._checked = False

    def active(self) -> StoredModel:
        """The model that searches use, its embedder loaded; raises what forbids to work with it.

        That is `SchemaOutdatedError`, `ModelMismatchError` or `EmbeddingSetupError`.
        """
        model = self.wanted()[0]
        self.embedder(model)
        return model

    def wanted(self) -> list[StoredModel]:
        """The models that a message needs vectors of: the active one, then one being filled.

        The embedders of all others are let go. Raises `SchemaOutdatedError`, or
        `ModelMismatchError` for a store of which nobody knows how its model is made.
        """
        with self._lock:
            if not self._checked:
                self._check()
            with self._engine.begin() as connection:
                models = wanted_models(connection)
            self._let_go(models)
            if models != self.last_wanted:
                self._metrics.show_models(self._labels(model) for model in models)
            self.last_wanted = models
            return models

    def embedder(self, model: StoredModel) -> Embedder:
        """What makes the vectors of `model`; raises `EmbeddingSetupError`."""
        with self._lock:
            if model.id not in self._embedders:
                if not model.is_made_by(configured(self._settings)):
                    self._say_that_settings_are_passed_over(model)
                self.use(model.id, embedder_of(self._settings, model))
            return self._embedders[model.id]

    @property
    def remote(self) -> bool:
        """Whether one of those that `wanted` said last is asked over the network."""
        with self._lock:
            embedders = [self._embedders.get(model.id) for model in self.last_wanted]
        return any(isinstance(each, RemoteEmbedder) for each in embedders)

    def obstacle(self, models: Sequence[StoredModel], *, lately: bool) -> str:
        """Why a provider of `models` would give no vectors now; empty when all of them would.

        `lately` wants a word from each that has not answered in the last seconds, and waits for it.
        """
        try:
            for model in models:
                # Without a package or a key there is none, which is no outage.
                with contextlib.suppress(EmbeddingSetupError):
                    embedder = self.embedder(model)
                    if isinstance(embedder, RemoteEmbedder):
                        embedder.check_answers(lately=lately)
        except EmbeddingUnavailableError as error:
            return str(error)
        return ""

    def use(self, model_id: int, embedder: Embedder) -> None:
        """Make the vectors of a model with `embedder`."""
        with self._lock:
            self._embedders[model_id] = embedder
            if isinstance(embedder, RemoteEmbedder):
                embedder.on_breaker(self._metrics.show_breaker)

    def _check(self) -> None:
        """See that the schema fits, and that the store has a model which can be made."""
        url = self._settings.database_url
        model = active_model(url)
        if model is None or model.recipe is None:
            recipe = configured(self._settings)
            embedder = create_embedder(self._settings)
            model_id = register_model(url, embedder.model, embedder.dimensions, recipe)
            self.use(model_id, embedder)
        self._checked = True

    def _labels(self, model: StoredModel) -> tuple[str, str, str]:
        provider = recipe_for(self._settings, model).provider
        return model.name, provider, str(model.dimensions)

    def _let_go(self, wanted: Sequence[StoredModel]) -> None:
        ids = {model.id for model in wanted}
        for model_id in self._embedders.keys() - ids:
            del self._embedders[model_id]

    def _say_that_settings_are_passed_over(self, model: StoredModel) -> None:
        if model.active:
            log.warning(
                "settings_name_another_model",
                settings=str(configured(self._settings)),
                active=str(model),
                reason="MEMORY_EMBEDDING_PROVIDER, MEMORY_EMBEDDING_MODEL_NAME and"
                " MEMORY_EMBEDDING_DIMENSIONS choose the model of a new store. This one works"
                " with its own; `aiml embeddings migrate` moves it to another.",
            )
