"""Which database and which broker a command uses: the ones that are set, or the embedded ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from cli import postgres, valkey
from cli.lock import FolderLock, holder
from cli.postgres import EmbeddedPostgres
from memory.errors import SettingsError
from memory.settings import Settings


def connection(settings: Settings) -> Settings:
    """`settings` with the URLs of the embedded servers in place of those that are not set.

    Raises `SettingsError` when the embedded servers do not run.
    """
    missing = _missing(settings)
    if not missing:
        return settings
    if holder(settings.data_folder) is None:
        raise SettingsError(
            f"{' and '.join(missing)}: not set, and no embedded servers run on"
            f" {settings.data_folder}. Run `aiml up`, or set what is missing."
        )
    return msgspec.structs.replace(
        settings,
        database_url=settings.database_url or postgres.stored_url(settings.data_folder),
        redis_url=settings.redis_url or _valkey_url(settings),
    )


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of the database. An embedded one that does not run is started for the duration.

    Raises `StartError` when that fails.
    """
    folder = settings.data_folder
    if settings.database_url:
        yield settings.database_url
    elif holder(folder) is not None:
        yield postgres.stored_url(folder)
    else:
        with FolderLock(folder), EmbeddedPostgres(folder) as server:
            yield server.url


def _missing(settings: Settings) -> list[str]:
    needed = {"MEMORY_DATABASE_URL": settings.database_url}
    if settings.async_embeddings:
        needed["MEMORY_REDIS_URL"] = settings.redis_url
    return [name for name, value in needed.items() if not value]


def _valkey_url(settings: Settings) -> str:
    return valkey.stored_url(settings.data_folder) if settings.async_embeddings else ""
