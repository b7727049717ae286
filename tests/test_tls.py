"""The whole service over TLS to PostgreSQL and Redis, for which its URLs alone ask."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from celery import Celery
from flower.utils.broker import Broker
from pytest_celery import CeleryTestWorker
from redbeat.schedulers import get_redis
from sqlalchemy import Connection, text

from cli.valkey import EmbeddedValkey
from db.engine import worker_engine
from memory.settings import Settings, load_settings
from tasks.configuration import celery_configuration
from tasks.kept_answers import KeptAnswers
from tests.conftest import message, serving
from tests.processes import ProcessContainer, wait_until
from tests.tls import Authority, PostgresTerminator, Terminator, new_authority, terminated
from tests.workers import environment

HOST = "localhost"
BEATS_LOCK = "memory:redbeat:lock"


def port(url: str) -> int:
    """Where the server of `url` listens."""
    return urlsplit(url).port or 0


def over_tls(
    settings: Settings, postgres: Terminator, valkey: Terminator, ca: Path, host: str = HOST
) -> Settings:
    """`settings` as an operator gives them who has the certificate `ca`."""
    database, broker = urlsplit(settings.database_url), urlsplit(settings.redis_url)
    login = f"{database.username}:{database.password}"
    place = f"{login}@{host}:{postgres.port}{database.path}"
    urls = {
        "MEMORY_DATABASE_URL": f"postgresql://{place}?sslmode=verify-full&sslrootcert={ca}",
        "MEMORY_REDIS_URL": f"rediss://:{broker.password}@{host}:{valkey.port}/0?ssl_ca_certs={ca}",
    }
    return load_settings({**environment(settings), **urls})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The one that has signed the servers' certificate."""
    return new_authority(tmp_path, "ours")


@pytest.fixture
def postgres_over_tls(database: str, authority: Authority) -> Iterator[Terminator]:
    """PostgreSQL behind TLS."""
    context = authority.certificate(HOST)
    with terminated(PostgresTerminator(context, port(database))) as terminator:
        yield terminator


@pytest.fixture
def valkey_over_tls(valkey: EmbeddedValkey, authority: Authority) -> Iterator[Terminator]:
    """Valkey behind TLS."""
    with terminated(Terminator(authority.certificate(HOST), port(valkey.url))) as terminator:
        yield terminator


@pytest.fixture
def plain(settings: Settings) -> Settings:
    """Settings without TLS."""
    return settings


@pytest.fixture
def secured(
    plain: Settings,
    authority: Authority,
    postgres_over_tls: Terminator,
    valkey_over_tls: Terminator,
) -> Settings:
    """Settings of a service that goes to both by TLS and by nothing else."""
    return over_tls(plain, postgres_over_tls, valkey_over_tls, authority.file)


class TestAService:
    """API, worker and beat with the URLs that ask for TLS."""

    @pytest.fixture
    def settings(self, secured: Settings) -> Settings:
        return secured

    @pytest.fixture
    def plain(self, database: str, valkey: EmbeddedValkey, folder: Path) -> Settings:
        with redis.Redis.from_url(valkey.url) as client:
            client.flushall()
        return Settings(
            database_url=database,
            redis_url=valkey.url,
            data_dir=str(folder),
            embedding_provider="mock",
            sweep_interval_seconds=1,
        )

    def test_all_of_it_works(
        self,
        api: httpx.Client,
        worker: CeleryTestWorker,
        beat: ProcessContainer,
        owner: Connection,
        valkey: EmbeddedValkey,
        postgres_over_tls: Terminator,
        valkey_over_tls: Terminator,
    ) -> None:
        # A first call to Redis may take longer than it gets on a machine with much to do.
        ready = {"status": "ready", "database": "up", "redis": "up"}
        wait_until(lambda: ready.items() <= api.get("/v1/admin/readiness").json().items(), "ready")
        assert api.post("/v1/messages", json=message()).status_code == 202
        embedded = text("select count(*) from messages where embedding_status = 'completed'")
        wait_until(lambda: owner.scalar(embedded) == 1, "the worker has embedded it")
        asked = {"tenant_id": "acme", "query": "peanuts"}
        for _ in range(2):
            assert api.get("/v1/memory/search", params=asked).json()["total"] == 1
        with redis.Redis.from_url(valkey.url) as client:
            wait_until(lambda: client.exists(BEATS_LOCK), "beat has its lock")
            assert list(client.scan_iter("memory-cache:*"))
        assert postgres_over_tls.calls > 1
        assert valkey_over_tls.calls > 3


def ask_postgres(settings: Settings) -> None:
    engine = worker_engine(settings)
    try:
        with engine.connect() as connection:
            connection.execute(text("select 1"))
    finally:
        engine.dispose()


def celery(settings: Settings) -> Celery:
    app = Celery(set_as_current=False)
    app.conf.update(celery_configuration(settings))
    return app


def ask_broker(settings: Settings) -> None:
    with celery(settings).connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        connection.default_channel.client.ping()


def ask_as_beat(settings: Settings) -> None:
    with get_redis(celery(settings)) as client:
        client.ping()


def ask_cache(settings: Settings) -> None:
    answers = KeptAnswers(settings.redis_url)
    assert answers._redis
    with answers._redis as client:
        client.ping()


ASKING = pytest.mark.parametrize("ask", [ask_postgres, ask_broker, ask_as_beat, ask_cache])


@ASKING
def test_who_is_known_is_believed(secured: Settings, ask: Callable[[Settings], None]) -> None:
    ask(secured)


@ASKING
def test_a_server_of_a_strange_authority_is_refused(
    plain: Settings,
    tmp_path: Path,
    postgres_over_tls: Terminator,
    valkey_over_tls: Terminator,
    ask: Callable[[Settings], None],
) -> None:
    strange = new_authority(tmp_path, "theirs")
    deceived = over_tls(plain, postgres_over_tls, valkey_over_tls, strange.file)
    with pytest.raises(Exception, match="certificate verify failed"):
        ask(deceived)


@ASKING
def test_a_server_of_another_name_is_refused(
    plain: Settings,
    authority: Authority,
    postgres_over_tls: Terminator,
    valkey_over_tls: Terminator,
    ask: Callable[[Settings], None],
) -> None:
    elsewhere = over_tls(plain, postgres_over_tls, valkey_over_tls, authority.file, "127.0.0.1")
    with pytest.raises(Exception, match=r"not valid for '127\.0\.0\.1'|does not match host"):
        ask(elsewhere)


@pytest.mark.parametrize("ask", [ask_broker, ask_as_beat, ask_cache])
def test_without_a_word_about_it_a_strange_redis_is_refused_too(
    plain: Settings, secured: Settings, ask: Callable[[Settings], None]
) -> None:
    silent = secured.redis_url.partition("?")[0]
    with pytest.raises(Exception, match="certificate verify failed"):
        ask(load_settings({**environment(plain), "MEMORY_REDIS_URL": silent}))


def test_an_api_does_not_serve_a_database_that_it_cannot_know(
    plain: Settings, tmp_path: Path, postgres_over_tls: Terminator, valkey_over_tls: Terminator
) -> None:
    strange = new_authority(tmp_path, "theirs")
    deceived = over_tls(plain, postgres_over_tls, valkey_over_tls, strange.file)
    with serving(deceived) as api:
        answer = api.get("/v1/admin/readiness")
        found = answer.json()
        assert (answer.status_code, found["database"], found["redis"]) == (503, "down", "down")


async def test_flower_counts_what_waits(secured: Settings) -> None:
    conf = celery(secured).conf
    broker = Broker(
        conf.broker_url,
        broker_options=conf.broker_transport_options,
        broker_use_ssl=conf.broker_use_ssl,
    )
    (queue,) = await broker.queues(["embeddings"])
    assert queue == {"name": "embeddings", "messages": 0}
    await broker.redis.aclose()
