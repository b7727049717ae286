"""Services in other than the default mode."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from cli.postgres import EmbeddedPostgres
from memory.settings import Settings
from tests.api.issuing import closed
from tests.api.speaking import Speaker
from tests.conftest import TEMPLATE, UNLIMITED, own_database, serving


@pytest.fixture
def inline_settings(settings: Settings) -> Settings:
    """Settings of a service that embeds within the request and knows of no Redis."""
    return msgspec.structs.replace(settings, async_embeddings=False, redis_url="")


@pytest.fixture
def inline(inline_settings: Settings) -> Iterator[httpx.Client]:
    """A client of a service that embeds within the request."""
    with serving(inline_settings) as client:
        yield client


@pytest.fixture(scope="session")
def shared_settings(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Settings]:
    """Settings of a service for all the questions that no other message disturbs."""
    with own_database(postgres.url, TEMPLATE) as url:
        yield Settings(
            database_url=url,
            data_dir=str(folder),
            embedding_provider="mock",
            async_embeddings=False,
            **UNLIMITED,
        )


@pytest.fixture(scope="session")
def shared(shared_settings: Settings) -> Iterator[httpx.Client]:
    """A client of that service; its tests check answers, not what the database holds."""
    with serving(shared_settings) as client:
        yield client


@pytest.fixture
def speaker(shared: httpx.Client) -> Speaker:
    """A tenant of that service that no other test has."""
    return Speaker(shared)


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of this machine that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="session")
def guarded(postgres: EmbeddedPostgres, folder: Path) -> Iterator[httpx.Client]:
    """A service with an operator key, and its own store, for what is asked about keys."""
    with own_database(postgres.url, TEMPLATE) as url:
        settings = Settings(
            database_url=url, data_dir=str(folder), embedding_provider="mock", **UNLIMITED
        )
        with serving(closed(settings)) as client:
            yield client


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    """Settings of a service that asks for no key."""
    return closed(settings, api_keys="")
