"""What is left of the limits when Redis is gone, silent or full, and when it is back."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from api import brief_redis
from api.limiter import Limiter
from api.metrics import Metrics
from cli.valkey import EmbeddedValkey
from memory.limits import Hit, read_limits
from tests.api.limiter.limiting import admitted, ask, figure, redis_of
from tests.api.redis_outages import Hole, OwnUser, pause_is_over

(TWENTY,) = read_limits("20/minute")


@pytest.fixture
def hole() -> Iterator[Hole]:
    with contextlib.closing(Hole()) as made:
        yield made


async def test_without_redis_the_process_keeps_the_limits(
    metrics: Metrics, hits: list[Hit]
) -> None:
    limiter = Limiter("", metrics)
    assert admitted(await ask(limiter, hits, 50)) == 20
    assert figure(metrics, "rate_limit_refused_total", limit="tenant") == 30
    assert figure(metrics, "rate_limit_local_total") == 0
    assert figure(metrics, "rate_limiter_degraded") == 0
    await limiter.aclose()


async def test_redis_goes_and_comes_back(
    limiter: Limiter, user: OwnUser, hits: list[Hit], metrics: Metrics
) -> None:
    with capture_logs() as lines:
        assert admitted(await ask(limiter, hits, 15)) == 15
        with user.thrown_out():
            # What was counted together is not known here.
            assert admitted(await ask(limiter, hits, 15)) == 15
            assert limiter.degraded
            pause_is_over(redis_of(limiter))
            assert admitted(await ask(limiter, hits, 15)) == 5
            assert figure(metrics, "rate_limiter_degraded") == 1
        pause_is_over(redis_of(limiter))
        assert admitted(await ask(limiter, hits, 15)) == 5
        assert not limiter.degraded
    assert figure(metrics, "rate_limiter_degraded") == 0
    assert figure(metrics, "rate_limit_local_total") == 30
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "rate_limiter_away"),
        ("info", "rate_limiter_back"),
    ]


async def test_a_silent_redis_costs_a_moment_once(
    hole: Hole, metrics: Metrics, hits: list[Hit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brief_redis, "FIRST_PAUSE_SECONDS", 30)
    limiter = Limiter(hole.url, metrics)
    started = time.monotonic()
    assert admitted(await ask(limiter, hits, 30)) == 20
    # It would be waited for without an end.
    assert 0.03 < time.monotonic() - started < 10
    assert admitted(await ask(limiter, hits, 100)) == 0
    assert hole.calls() == 1
    await limiter.aclose()


async def test_while_one_tries_redis_the_others_do_not_wait(
    hole: Hole, metrics: Metrics, hits: list[Hit]
) -> None:
    limiter = Limiter(hole.url, metrics)
    await limiter.admit(hits)
    hole.calls()
    pause_is_over(redis_of(limiter))
    trying = asyncio.create_task(limiter.admit(hits))
    await hole.call()
    others = await ask(limiter, hits, 10)
    assert not trying.done()
    assert admitted(others) == 10
    assert await trying
    await limiter.aclose()


async def test_a_closed_port_is_no_refusal(
    closed_port: int, metrics: Metrics, hits: list[Hit]
) -> None:
    limiter = Limiter(f"redis://127.0.0.1:{closed_port}/0", metrics)
    assert admitted(await ask(limiter, hits, 30)) == 20
    await limiter.aclose()


async def test_a_full_redis_is_one_that_does_not_answer(
    folder: Path, metrics: Metrics, hits: list[Hit]
) -> None:
    with EmbeddedValkey(folder / "full-valkey") as server:
        limiter = Limiter(server.url, metrics)
        with redis.Redis.from_url(server.url) as client, capture_logs() as lines:
            assert admitted(await ask(limiter, hits, 15)) == 15
            client.config_set("maxmemory", "1")
            assert admitted(await ask(limiter, hits, 30)) == 20
            assert limiter.degraded
            client.config_set("maxmemory", "0")
            pause_is_over(redis_of(limiter))
            assert admitted(await ask(limiter, hits, 30)) == 5
            assert not limiter.degraded
        assert [line.get("reason") for line in lines] == ["OutOfMemoryError", None]
        await limiter.aclose()
