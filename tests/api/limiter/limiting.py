"""Asking a limiter, and what it tells."""

import asyncio

from api.brief_redis import BriefRedis
from api.limiter import Limiter
from api.metrics import Metrics
from memory.limits import Hit, Standing


async def ask(limiter: Limiter, hits: list[Hit], times: int) -> list[Standing]:
    """How it stands after each of so many requests that come at once."""
    standings = await asyncio.gather(*(limiter.admit(hits) for _ in range(times)))
    assert all(standings)
    return [standing for standing in standings if standing]


def admitted(standings: list[Standing]) -> int:
    return sum(standing.retry_after is None for standing in standings)


def redis_of(limiter: Limiter) -> BriefRedis:
    assert limiter._redis
    return limiter._redis


def figure(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)
