"""A service with a victim in its store, and one who attacks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import Connection, create_engine

from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from db.engine import driver_url
from memory.settings import Settings
from tests.api.isolation.attacking import Attacker
from tests.api.isolation.planted import OPERATOR, Planted, plant, rows_of_others
from tests.api.isolation.statements import Statements
from tests.conftest import TEMPLATE, UNLIMITED, own_database, serving


@pytest.fixture(scope="module")
def statements() -> Iterator[Statements]:
    """What the services of this module send to the database."""
    with Statements().watched() as statements:
        yield statements


@pytest.fixture(scope="module", autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """What a process knows of a tenant for seconds it asks for each time: all is seen at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.tenants.KNOWN_SECONDS", 0.0)
        patch.setattr("api.uses.INTERVAL_SECONDS", 0.2)
        yield


@pytest.fixture(scope="session")
def garden(postgres: EmbeddedPostgres, folder: Path) -> Iterator[tuple[str, Planted]]:
    """The name of a database to copy, and what is planted there."""
    with own_database(postgres.url, TEMPLATE) as url:
        inline = Settings(
            database_url=url,
            data_dir=str(folder),
            embedding_provider="mock",
            async_embeddings=False,
            api_keys=OPERATOR,
            **UNLIMITED,
        )
        with owning(url) as owner, serving(inline) as api:
            api.headers["x-api-key"] = OPERATOR
            planted = plant(api, owner)
        yield url.rpartition("/")[2], planted


@pytest.fixture(scope="session")
def planted(garden: tuple[str, Planted]) -> Planted:
    """What there is in the store."""
    return garden[1]


@contextmanager
def planted_service(server: str, template: str, valkey: str, folder: Path) -> Iterator[Settings]:
    """Settings of a service whose messages workers embed, of whom there are none."""
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
    with own_database(server, template) as url:
        yield Settings(
            database_url=url,
            redis_url=valkey,
            data_dir=str(folder),
            embedding_provider="mock",
            api_keys=OPERATOR,
            **UNLIMITED,
        )


@contextmanager
def owning(url: str) -> Iterator[Connection]:
    """The owner's connection to a store; each statement is committed."""
    engine = create_engine(driver_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="module")
def service(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, folder: Path, garden: tuple[str, Planted]
) -> Iterator[Settings]:
    """The service of a module."""
    with planted_service(postgres.url, garden[0], valkey.url, folder) as settings:
        yield settings


@pytest.fixture(scope="module")
def store(service: Settings) -> Iterator[Connection]:
    """The owner's connection to its store."""
    with owning(service.database_url) as connection:
        yield connection


@pytest.fixture(scope="module")
def attacked(
    service: Settings, store: Connection, planted: Planted, statements: Statements
) -> Iterator[Attacker]:
    """One who calls that service, for as long as the tests of a module take."""
    with serving(service) as api:
        yield Attacker(api, store, planted, statements)


@pytest.fixture
def attacker(attacked: Attacker) -> Iterator[Attacker]:
    """One who calls it; when the test has ended, nothing of anybody else has changed."""
    before = rows_of_others(attacked.owner)
    yield attacked
    assert rows_of_others(attacked.owner) == before
