"""A Redis that fails over: the service goes on by itself, with the next server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.queues import EMBEDDINGS
from memory.settings import Settings
from tests.brokers.sentinels import PASSWORD, SENTINEL_PASSWORD, Watched, watched
from tests.conftest import message, serving
from tests.metrics_pages import series
from tests.processes import ProcessContainer, wait_until

# A sentinel that is silent keeps a call from a server that is not.
pytestmark = pytest.mark.usefixtures("in_real_time")
STATUSES = text("select embedding_status, count(*) from messages group by 1")
LOCK = "memory:redbeat:lock"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "servers") as found:
        yield found


@pytest.fixture
def settings(settings: Settings, servers: Watched) -> Settings:
    return msgspec.structs.replace(
        settings, redis_url=servers.url, tenant_rate_limit="10000/minute"
    )


def post(api: httpx.Client) -> None:
    assert api.post("/v1/messages", json=message()).status_code == 202


def statuses(owner: Connection) -> dict[str, int]:
    return {status: count for status, count in owner.execute(STATUSES)}  # noqa: C416


def ready(api: httpx.Client) -> bool:
    return bool(api.get("/v1/admin/readiness").json()["status"] == "ready")


def figure(api: httpx.Client, name: str) -> float:
    return series(api.get("/metrics").text)[name]


def next_primary(servers: Watched, before: int) -> int:
    """The other server, once a sentinel of those that live says that it is at work."""
    wait_until(lambda: servers.primary(2) != before, "the sentinels have chosen the other")
    return servers.primary(2)


def test_the_service_goes_on_with_the_next_server(
    servers: Watched,
    api: httpx.Client,
    worker: CeleryTestWorker,
    beat: ProcessContainer,
    owner: Connection,
) -> None:
    wait_until(lambda: ready(api), "all is ready")
    post(api)
    wait_until(lambda: statuses(owner) == {"completed": 1}, "it is embedded")
    before = servers.primary()
    with servers.client(before) as client:
        wait_until(lambda: client.exists(LOCK), "beat is at work")
        wait_until(lambda: list(client.scan_iter("limits:*")) != [], "limits are counted there")
    # With it dies the sentinel that everybody knows best.
    servers.kill(servers.sentinels[0])
    servers.kill(before)
    for _ in range(20):
        post(api)
    after = next_primary(servers, before)
    wait_until(lambda: ready(api), "all is ready again")
    owner.execute(text("update messages set ingested_at = now() - interval '1 minute'"))

    def all_embedded() -> bool:
        # Whoever runs beat starts it again, whenever it finds that its lock is gone.
        if beat.status == "exited":
            beat.restart()
        return statuses(owner) == {"completed": 21}

    wait_until(all_embedded, "the sweep has sent them again", 120)
    with servers.client(after) as client:
        assert client.exists(LOCK)
        post(api)
        wait_until(lambda: list(client.scan_iter("limits:*")) != [], "limits are counted here")
    wait_until(lambda: figure(api, "rate_limiter_degraded") == 0, "by all processes together")
    for secret in (PASSWORD, SENTINEL_PASSWORD):
        assert secret not in worker.logs() + beat.logs()


def test_what_a_failover_loses_is_sent_again(
    servers: Watched, api: httpx.Client, owner: Connection, request: pytest.FixtureRequest
) -> None:
    before = servers.primary()
    first, second = before, next(port for port in servers.servers if port != before)
    post(api)
    with servers.client(first) as old, servers.client(second) as new:
        wait_until(lambda: new.llen(EMBEDDINGS) == 1, "the other server has it, too")
        # From here on nothing reaches the other, as when the network between them is cut.
        new.replicaof("no", "one")
        post(api)
        wait_until(lambda: old.llen(EMBEDDINGS) == 2, "the second is at the first alone")
        servers.kill(first)
        assert new.llen(EMBEDDINGS) == 1
    next_primary(servers, before)
    owner.execute(text("update messages set ingested_at = now() - interval '1 minute'"))
    worker: Any = request.getfixturevalue("worker")
    beat: Any = request.getfixturevalue("beat")
    wait_until(lambda: statuses(owner) == {"completed": 2}, "the row was the queue", 60)
    assert worker.container.status == beat.status == "running"


def test_a_silent_sentinel_delays_nobody(servers: Watched, settings: Settings) -> None:
    servers.freeze(servers.sentinels[0])
    with serving(settings) as api, servers.client(servers.primary(1)) as client:
        post(api)
        wait_until(lambda: post(api) or list(client.scan_iter("limits:*")), "limits are counted")
        wait_until(lambda: client.llen(EMBEDDINGS), "tasks are sent")
        # The server itself is asked for no longer than 50 ms, the search for it included.
        wait_until(lambda: figure(api, "rate_limiter_degraded") == 0, "by all processes together")
