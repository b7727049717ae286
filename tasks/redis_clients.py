"""Clients of Redis: of the one at a URL, or of the one that sentinels say is at work."""

import asyncio
import contextlib
from typing import Any

import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import RedisError
from redis.sentinel import MasterNotFoundError

from memory.sentinels import Sentinels, sentinels

# Of those who work beside the requests: one that is silent costs so long, and the next is asked.
SENTINEL_SECONDS = 1


class Racing(redis.asyncio.sentinel.Sentinel):
    """Sentinels who are asked all at once: a silent one delays nobody.

    A call on a request's path has 50 ms, in which no other could be asked after it.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Where the Redis is that is at work, as the first says who knows."""
        asking = [asyncio.ensure_future(self._ask(each, service_name)) for each in self.sentinels]
        try:
            for answering in asyncio.as_completed(asking):
                with contextlib.suppress(RedisError, OSError):
                    if address := await answering:
                        return address
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise MasterNotFoundError(f"No sentinel knows who is {service_name!r} now")

    async def _ask(
        self, sentinel: redis.asyncio.Redis, service_name: str
    ) -> tuple[str, int] | None:
        masters: Any = await sentinel.sentinel_masters()
        state = masters.get(service_name)
        if state and self.check_master_state(state, service_name):
            return state["ip"], state["port"]
        return None


def redis_client(url: str, **options: Any) -> redis.Redis:
    """A client of the Redis of `url`; `options` are those of redis-py's connections."""
    found = sentinels(url)
    if found is None:
        return redis.Redis.from_url(url, **options)
    asked = redis.sentinel.Sentinel(
        found.hosts,
        sentinel_kwargs=login_of_sentinels(found),
        **login(found),
        **options,
    )
    client: redis.Redis = asked.master_for(found.master_name)
    return client


def async_redis_client(url: str, **options: Any) -> redis.asyncio.Redis:
    """The same for an event loop. It is closed by `close`."""
    found = sentinels(url)
    if found is None:
        return redis.asyncio.Redis.from_url(url, **options)
    asked = Racing(
        found.hosts,
        sentinel_kwargs=login_of_sentinels(found),
        **login(found),
        **options,
    )
    client: redis.asyncio.Redis = asked.master_for(found.master_name)
    return client


async def close(client: redis.asyncio.Redis) -> None:
    """Close the connections of `client`, those to its sentinels too."""
    await client.aclose()
    if asked := getattr(client.connection_pool, "sentinel_manager", None):
        await asked.aclose()


def login(found: Sentinels) -> dict[str, Any]:
    """What a connection to the Redis itself is told."""
    named = {"username": found.username, "password": found.password}
    return {"db": found.database, **{name: value for name, value in named.items() if value}}


def login_of_sentinels(found: Sentinels) -> dict[str, Any]:
    """What a connection to a sentinel is told."""
    named = {"username": found.sentinel_username, "password": found.sentinel_password}
    return {
        # The next is asked at once.
        "retry": None,
        "socket_timeout": SENTINEL_SECONDS,
        "socket_connect_timeout": SENTINEL_SECONDS,
        **{name: value for name, value in named.items() if value},
    }
