"""Token vectors of the texts that were read last, so that they need not be computed again."""

import hashlib
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from memory.embedding.text import well_formed

HalfVectors = NDArray[np.float16]
# What Python keeps beside the numbers of one entry.
ENTRY_BYTES = 400


class TokenCache:
    """At most `capacity` bytes of vectors; the one least lately used goes first.

    It holds digests of the texts, not the texts: what is deleted from the store can no longer be
    read here. Safe from several threads.
    """

    def __init__(self, capacity: int) -> None:
        self._room = capacity
        self._entries: OrderedDict[bytes, HalfVectors] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> HalfVectors | None:
        """The vectors that were put for `text`, None when they are gone or never were here."""
        key = _digest(text)
        with self._lock:
            vectors = self._entries.get(key)
            if vectors is not None:
                self._entries.move_to_end(key)
            return vectors

    def put(self, text: str, vectors: HalfVectors) -> None:
        """Keep `vectors` for `text` as long as there is room."""
        key = _digest(text)
        with self._lock:
            self._drop(key)
            self._entries[key] = vectors
            self._room -= _size(vectors)
            while self._room < 0:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        vectors = self._entries.pop(key, None)
        if vectors is not None:
            self._room += _size(vectors)


def _size(vectors: HalfVectors) -> int:
    return vectors.nbytes + ENTRY_BYTES


def _digest(text: str) -> bytes:
    return hashlib.blake2b(well_formed(text).encode(), digest_size=16).digest()
