"""Whether RabbitMQ lets the service in: its login, its virtual host, its certificate."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from pytest_celery import CeleryTestWorker

from memory.errors import SettingsError
from memory.settings import Settings, load_settings
from tasks.brokers import check_entry
from tasks.configuration import celery_configuration
from tests.brokers.rabbitmq import USER, WRITTEN_PASSWORD, RabbitMQ, has_rabbitmq
from tests.conftest import message, serving
from tests.metrics_pages import series
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until
from tests.tls import Authority, Terminator, new_authority, terminated
from tests.workers import environment

pytestmark = has_rabbitmq
HOST = "localhost"
TASKS = "draw=1&start=0&length=9&order[0][column]=0&order[0][dir]=desc&columns[0][data]=received"


@pytest.fixture
def settings(settings: Settings, rabbitmq: RabbitMQ) -> Settings:
    return msgspec.structs.replace(settings, broker_url=rabbitmq.url)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return new_authority(tmp_path, "ours")


@pytest.fixture
def terminator(authority: Authority, rabbitmq: RabbitMQ) -> Iterator[Terminator]:
    """RabbitMQ behind TLS."""
    with terminated(Terminator(authority.certificate(HOST), rabbitmq.port)) as found:
        yield found


def let_in(settings: Settings, url: str) -> bool:
    """Whether who has `url` gets to the RabbitMQ."""
    loaded = load_settings({**environment(settings), "MEMORY_BROKER_URL": url})
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(loaded))
        check_entry(app)
        try:
            with app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
        except OperationalError:
            return False
    return True


@pytest.mark.parametrize("part", ["worker", "beat", "flower"])
def test_a_wrong_password_ends_the_start(settings: Settings, part: str, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(
        settings, broker_url=settings.broker_url.replace(WRITTEN_PASSWORD, "wrong")
    )
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", part],
        env={**os.environ, **environment(wrong)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: MEMORY_BROKER_URL: RabbitMQ answers ACCESS_REFUSED")
    assert "Traceback" not in done.stderr


def test_so_does_a_wrong_virtual_host(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="vhost /nowhere not found"):
        let_in(settings, settings.broker_url + "nowhere")


def test_an_api_serves_without_a_broker_that_lets_it_in(settings: Settings) -> None:
    wrong = msgspec.structs.replace(settings, broker_url=settings.broker_url + "nowhere")
    strict = msgspec.structs.replace(wrong, require_redis_in_production=True)
    with serving(strict) as api:
        assert api.post("/v1/messages", json=message()).status_code == 202
        assert series(api.get("/metrics").text)["broker_up"] == 0
        found = api.get("/v1/admin/readiness")
        assert (found.status_code, found.json()["broker"]) == (503, "down")


def test_over_tls_who_is_known_is_believed(
    settings: Settings, authority: Authority, terminator: Terminator, tmp_path: Path
) -> None:
    login = f"amqps://{USER}:{WRITTEN_PASSWORD}"
    ours, place = f"ssl_ca_certs={authority.file}", f"{HOST}:{terminator.port}//"
    strange = new_authority(tmp_path, "theirs").file
    assert let_in(settings, f"{login}@{place}?{ours}")
    assert terminator.calls > 0
    assert not let_in(settings, f"{login}@{place}?ssl_ca_certs={strange}")
    assert not let_in(settings, f"{login}@{place}")
    assert not let_in(settings, f"{login}@127.0.0.1:{terminator.port}//?{ours}")
    assert let_in(settings, f"{login}@127.0.0.1:{terminator.port}//?ssl_cert_reqs=none")


def test_flower_shows_what_ran(
    settings: Settings, worker: CeleryTestWorker, tmp_path: Path
) -> None:
    port = free_port()
    own = msgspec.structs.replace(settings, flower_port=port, data_dir=str(tmp_path / "data"))
    command = [sys.executable, "-m", "cli.main", "flower"]
    flower = ProcessContainer("flower", command, environment(own), tmp_path / "flower.log")

    def get(path: str) -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10).text
        except httpx.TransportError:
            return ""

    try:
        wait_until(lambda: get("/healthcheck") == "OK", "Flower answers")
        with serving(settings) as api:
            wait_until(
                lambda: (
                    api.post("/v1/messages", json=message()).status_code == 202
                    and "embed_messages" in get(f"/tasks/datatable?{TASKS}")
                ),
                "Flower has heard of a task",
            )
        assert get("/broker")
        assert WRITTEN_PASSWORD not in flower.logs()
    finally:
        flower.teardown()
