"""What ends a start with one clear line."""

from memory.errors import MemoryLayerError


class StartError(MemoryLayerError):
    """A part of the service cannot start; the message says why and what to do."""
