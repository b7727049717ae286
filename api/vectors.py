"""Vectors of messages that were embedded within their request, on their way into the store."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from db.queries.embeddings import INSERT_VECTORS, vector_parameters
from db.queries.models import SHARE_MODELS, WANTED_IDS
from memory.embedding.protocol import Vectors
from memory.messages import Message


async def wanted_models(connection: AsyncConnection) -> set[int]:
    """The models that a message needs vectors of to be embedded; so it stays until the commit.

    To be asked first in a transaction: who changes the models waits for those who ask.
    """
    await connection.execute(SHARE_MODELS)
    return set((await connection.scalars(WANTED_IDS)).all())


async def store_vectors(
    connection: AsyncConnection, embedded: Sequence[tuple[Message, int, Vectors]]
) -> None:
    """Store the vectors of new messages, each with the id of the model that made them."""
    if not embedded:
        return
    parameters = vector_parameters([(message.id, vectors) for message, _, vectors in embedded])
    of = {message.id: (message.tenant_id, model_id) for message, model_id, _ in embedded}
    parameters["tenant_ids"] = [of[message_id][0] for message_id in parameters["part_ids"]]
    parameters["model_ids"] = [of[message_id][1] for message_id in parameters["part_ids"]]
    await connection.execute(INSERT_VECTORS, parameters)
