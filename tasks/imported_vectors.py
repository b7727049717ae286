"""The vectors that a message of a file brings along."""

import numpy as np

from memory.embedding.protocol import Vectors
from memory.errors import FileContentError
from tasks.file_format import ArchivedMessage, Header

BYTES_EACH = 2
# Of unit length, as far as 16 bits say it.
LENGTH_IS_ONE = 0.05


def vectors_of(
    message: ArchivedMessage, header: Header, places: dict[int, int]
) -> dict[int, Vectors]:
    """By model id the vectors of shape (parts, dimensions); `places` are the models' in the header.

    An archived message has none. Raises `FileContentError`, naming the message.
    """
    if message.archived_at:
        return {}
    by_place = {each.model: each.data for each in message.vectors}
    return {
        model_id: read_vectors(message, header, place, by_place[place])
        for model_id, place in places.items()
        if place in by_place
    }


def check_vectors(message: ArchivedMessage, header: Header) -> None:
    """Raise `FileContentError` for the first vectors of `message` that are none."""
    for each in message.vectors:
        read_vectors(message, header, each.model, each.data)


def read_vectors(message: ArchivedMessage, header: Header, place: int, data: bytes) -> Vectors:
    """The vectors in `data` of the header's model at `place`, shape (parts, dimensions)."""
    named = f"message {message.id}: its vectors of model {place}"
    if place >= len(header.models):
        raise FileContentError(f"{named} are of no model that the header names")
    dimensions = header.models[place].dimensions
    if not data or len(data) % (dimensions * BYTES_EACH):
        raise FileContentError(f"{named} are not of {dimensions} dimensions")
    vectors = np.frombuffer(data, dtype="<f2").reshape(-1, dimensions).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise FileContentError(f"{named} have a number that is not finite")
    if (abs(np.linalg.norm(vectors, axis=1) - 1) > LENGTH_IS_ONE).any():
        raise FileContentError(f"{named} are not of unit length")
    return vectors
