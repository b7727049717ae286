"""What a worker process opens once and keeps: its connections and its embedding model."""

from functools import cached_property

from sqlalchemy import Engine

from db.engine import worker_engine
from db.migrating import register_model
from memory.embedding.protocol import Embedder
from memory.embedding.select import create_embedder
from memory.settings import Settings
from tasks.growth import Growth
from tasks.kept_answers import KeptAnswers


class Resources:
    """Opened on first use, which must come after the fork: no thread or socket survives it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def engine(self) -> Engine:
        """The process's connection pool, as the worker's role."""
        return worker_engine(self.settings)

    @cached_property
    def embedder(self) -> Embedder:
        """The configured embedding model."""
        return create_embedder(self.settings)

    @cached_property
    def answers(self) -> KeptAnswers:
        """The answers that the API keeps, to be forgotten when a memory changes."""
        return KeptAnswers(self.settings.cache_url or self.settings.redis_url)

    @cached_property
    def growth(self) -> Growth:
        """How far the tenants have grown before this process's eyes."""
        return Growth()

    @cached_property
    def model_id(self) -> int:
        """The active model's id; raises `ModelMismatchError` when it is not this embedder's."""
        return register_model(
            self.settings.database_url, self.embedder.model, self.embedder.dimensions
        )

    def use(self, embedder: Embedder, model_id: int) -> None:
        """Work with a model that this process has loaded already."""
        self.embedder = embedder
        self.model_id = model_id

    def close(self) -> None:
        """Close the connections, if any was opened."""
        if "engine" in vars(self):
            self.engine.dispose()

    def check_model(self) -> None:
        """Raise what forbids or prevents writing vectors, before a message is claimed for it."""
        _ = self.model_id
