"""The queues that tasks wait in, and which of them a worker serves."""

from memory.errors import SettingsError

EMBEDDINGS = "embeddings"
MAINTENANCE = "maintenance"
QUEUES = (EMBEDDINGS, MAINTENANCE)


def served_queues(named: str, source: str) -> list[str]:
    """The queues of a comma-separated list, each once.

    Raises `SettingsError`, naming `source`, for a name that is no queue, and when there is none.
    """
    queues = list(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))
    if not queues or not set(queues) <= set(QUEUES):
        raise SettingsError(f"{source}={named!r}: expected {' or '.join(QUEUES)}, or both")
    return queues
