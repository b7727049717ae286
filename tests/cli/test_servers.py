from pathlib import Path

import psycopg
import pytest

from cli.lock import FolderLock
from cli.postgres import EmbeddedPostgres
from cli.records import write_private
from cli.servers import connection, database
from memory.errors import SettingsError
from memory.settings import Settings

POSTGRES = "postgresql://me@db.example/x"


def test_what_is_set_is_used() -> None:
    settings = Settings(database_url=POSTGRES, redis_url="redis://r.example/0", data_dir="/none")
    assert connection(settings) is settings
    with database(settings) as url:
        assert url == POSTGRES


def test_without_servers_the_answer_says_what_to_do(place: Path) -> None:
    with pytest.raises(SettingsError, match=r"MEMORY_DATABASE_URL and MEMORY_REDIS_URL.*aiml up"):
        connection(Settings(data_dir=str(place)))
    with pytest.raises(SettingsError, match=r"^MEMORY_REDIS_URL"):
        connection(Settings(data_dir=str(place), database_url=POSTGRES))
    with pytest.raises(SettingsError, match=r"^MEMORY_DATABASE_URL: "):
        connection(Settings(data_dir=str(place), async_embeddings=False))


def test_running_embedded_servers_are_found(place: Path) -> None:
    for name, port in {"postgres": 15, "valkey": 16}.items():
        write_private(place / f"{name}.password", "pw")
        write_private(place / f"{name}.port", str(port))
    with FolderLock(place):
        found = connection(Settings(data_dir=str(place)))
        assert found.database_url == "postgresql://aiml:pw@127.0.0.1:15/memory"
        assert found.redis_url == "redis://:pw@127.0.0.1:16/0"
        own = connection(Settings(data_dir=str(place), database_url=POSTGRES))
        assert (own.database_url, own.redis_url) == (POSTGRES, found.redis_url)
        with database(Settings(data_dir=str(place))) as url:
            assert url == found.database_url


def test_the_api_alone_needs_no_broker(place: Path) -> None:
    settings = Settings(database_url=POSTGRES, async_embeddings=False, data_dir=str(place))
    assert connection(settings).redis_url == ""


def test_a_database_is_started_for_the_duration(place: Path) -> None:
    settings = Settings(data_dir=str(place / "data"))
    with database(settings) as url, psycopg.connect(url) as client:
        assert client.execute("select 1").fetchone() == (1,)
        # Meanwhile it is found, and nobody starts a second one.
        with database(settings) as second:
            assert second == url
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    with EmbeddedPostgres(place / "data") as server:
        assert server.url == url
