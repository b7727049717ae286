"""Moves to another embedding model, step by step or to their end."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from memory.embedding.mock import MockEmbedder
from memory.embedding.protocol import Purpose, Vectors
from memory.embedding.recipes import Recipe
from tasks.jobs import Held, Step, start_job, take, work
from tasks.moving import migrate_step, new_move
from tasks.resources import Resources

# A store begins with the mock of 384 dimensions.
SMALLER = Recipe(provider="mock", dimensions=256)
FIRST = Recipe(provider="mock", dimensions=384)
JOB = text("select state, result, error, done, total, position from jobs where id = :id")
LACKING = text("""
select count(*) from messages
where embedding_status = 'completed' and archived_at is null and not exists (
  select from message_embeddings as embeddings
  where embeddings.message_id = messages.id
    and embeddings.model_id = (select id from embedding_models where active))
""")
VECTORS = text("""
select dimensions from message_embeddings join embedding_models on embedding_models.id = model_id
where message_id = :id order by dimensions
""")
ACTIVE = text("select dimensions from embedding_models where active")
FILLING = text("select count(*) from embedding_models where filling")
FREE = text("update jobs set lease_until = now() - interval '1 s' where state = 'running'")


def begin(resources: Resources, recipe: Recipe = SMALLER) -> UUID:
    """The id of the job of a move that nobody works on yet."""
    with resources.engine.begin() as connection:
        return start_job(connection, new_move(recipe, "test"))


def held(resources: Resources, job_id: UUID) -> Held:
    """The job in the hands of this process."""
    taken = take(resources, "*", job_id)
    assert taken is not None
    return taken


def go_to(resources: Resources, job: Held, phase: str, step: Step = migrate_step) -> None:
    """Work on a job until it is at `phase`."""
    while job.position.get("phase") != phase:
        assert step(resources, job) is None, f"it ended before it came to {phase}"


def ended(resources: Resources, job_id: UUID, step: Step = migrate_step) -> Any:
    """Work on a job until it has ended; its row."""
    said = "goes on"
    while said.startswith("goes on"):
        said = work(resources, "*", job_id, step)
    with resources.engine.begin() as connection:
        return connection.execute(JOB, {"id": job_id}).one()


def move(resources: Resources, recipe: Recipe = SMALLER) -> dict[str, Any]:
    """The result of a move that nothing disturbs."""
    row = ended(resources, begin(resources, recipe))
    assert row.state == "completed", row.error
    result: dict[str, Any] = row.result
    return result


def dimensions_of(owner: Connection, message_id: UUID) -> list[int]:
    """The dimensions of the vectors that a message has."""
    return list(owner.scalars(VECTORS, {"id": message_id}))


def assert_moved(owner: Connection, dimensions: int = 256) -> None:
    """That is the active model's, and each embedded message has a vector of it."""
    assert owner.scalar(ACTIVE) == dimensions
    assert owner.scalar(LACKING) == 0
    assert owner.scalar(FILLING) == 0


class Meanwhile(MockEmbedder):
    """A model beside whose work something happens, once."""

    def __init__(self, dimensions: int, event: Callable[[], object]) -> None:
        super().__init__(dimensions)
        self._events = [event]

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        vectors = super().embed(texts, purpose)
        if self._events:
            self._events.pop()()
        return vectors


class Picky(MockEmbedder):
    """A model that fails on texts with a word, with an error."""

    def __init__(self, dimensions: int, word: str, error: Exception) -> None:
        super().__init__(dimensions)
        self._word = word
        self._error = error

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        if any(self._word in text for text in texts):
            raise self._error
        return super().embed(texts, purpose)
