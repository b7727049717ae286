"""Storing the vectors of what is claimed, lot by lot: one is written while the next is embedded."""

from collections.abc import Collection, Sequence
from concurrent.futures import Future, wait
from typing import NamedTuple
from uuid import UUID

from db.queries.embeddings import FILL_VECTORS, WRITE_VECTORS, vector_parameters
from db.queries.models import SHARE_MODELS, WANTED_IDS
from memory.embedding.batching import embed_contents
from memory.embedding.protocol import Embedder, Vectors
from memory.embedding.recipes import StoredModel
from memory.embedding.remote import RemoteEmbedder
from memory.errors import EmbeddingUnavailableError
from tasks.metrics import timed
from tasks.resources import Resources

# A model of our own is no faster with more at once, and what comes last is written by itself.
LOT_MESSAGES = 32


class Claimed(NamedTuple):
    """A message that is this task's to embed, until its claim runs out."""

    id: UUID
    content: str
    version: int
    waited: float = 0.0
    """The seconds from its storing to its claim."""


def embed_for_all(
    resources: Resources, tenant_id: str, claimed: Sequence[Claimed], indexed: Future[None]
) -> None:
    """Store the vectors of `claimed` by each model that is wanted, the active one's first.

    So they are found even when the one that is being filled fails; they stay pending then, as they
    do when they are not `indexed`.
    """
    stored: set[int] = set()
    while left := [model for model in resources.models.wanted() if model.id not in stored]:
        for model in left:
            covers = stored | {model.id} if model is left[-1] else set()
            if embed_by(resources, tenant_id, claimed, model, covers, indexed):
                return
            stored.add(model.id)
    raise EmbeddingUnavailableError("The store's models changed while this was embedded.")


def embed_by(
    resources: Resources,
    tenant_id: str,
    claimed: Sequence[Claimed],
    model: StoredModel,
    covers: Collection[int],
    indexed: Future[None],
) -> bool:
    """Store the vectors of `claimed` by a model; whether all that are wanted are stored then.

    What was written before an error stays written, and is no longer pending.
    """
    embedder = resources.models.embedder(model)
    writing: list[Future[bool]] = []
    try:
        for lot in lots(claimed, embedder):
            with timed(resources.metrics.embedding_seconds):
                vectors = embed_contents(embedder, [message.content for message in lot])
            writing.append(
                resources.beside(
                    write, resources, tenant_id, lot, model.id, vectors, covers, indexed
                )
            )
        written = [each.result() for each in writing]
        return all(written)
    finally:
        # Also after an error: what is embedded is not to be embedded again.
        wait([indexed])
        wait(writing)


def lots(claimed: Sequence[Claimed], embedder: Embedder) -> list[Sequence[Claimed]]:
    """What is embedded at once: for a model of our own texts of much the same length."""
    if isinstance(embedder, RemoteEmbedder):
        return [claimed]
    ordered = sorted(claimed, key=lambda message: len(message.content))
    return [ordered[start : start + LOT_MESSAGES] for start in range(0, len(ordered), LOT_MESSAGES)]


def write(
    resources: Resources,
    tenant_id: str,
    lot: Sequence[Claimed],
    model_id: int,
    vectors: Sequence[Vectors],
    covers: Collection[int],
    indexed: Future[None],
) -> bool:
    """Store `vectors`, one array a message, where the message is still what was claimed.

    Whether `covers`, the models whose vectors are stored by then, are all that are wanted: only
    then the messages are embedded, and no longer pending. Raises what kept them from being
    `indexed`, for who is not pending would never be.
    """
    indexed.result()
    ids = [message.id for message in lot]
    with resources.engine.begin() as connection:
        connection.execute(SHARE_MODELS)
        embedded = set(connection.scalars(WANTED_IDS)) <= set(covers)
        connection.execute(
            WRITE_VECTORS if embedded else FILL_VECTORS,
            {
                "tenant_id": tenant_id,
                "model_id": model_id,
                "ids": ids,
                "versions": [message.version for message in lot],
                **vector_parameters(list(zip(ids, vectors, strict=True))),
            },
        )
    return embedded
