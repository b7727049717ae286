"""Redis for what may be lost: it is asked for 50 ms at most, and a failure is a miss."""

from collections.abc import Mapping, Sequence

from api.brief_redis import BriefRedis
from tasks.kept_answers import PREFIX

VALUE_BYTES = 256 * 1024


class Cache:
    """Values by key, in a Redis that may be slow, full or gone. Safe to share among tasks."""

    def __init__(self, redis: BriefRedis) -> None:
        self._redis = redis

    @classmethod
    def connect(cls, url: str) -> "Cache":
        """The cache in the Redis at `url`; connections are made when they are needed."""
        return cls(BriefRedis(url, "cache"))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def get(self, key: str) -> bytes | None:
        """The value of `key`; None when there is none, or no answer."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The value of each key as of one moment, or None; all None when there is no answer."""
        nothing: list[bytes | None] = [None] * len(keys)
        if not keys:
            return nothing
        names = [PREFIX + key for key in keys]
        found: list[bytes | None] | None = await self._redis.ask(
            lambda: self._redis.client.mget(names)
        )
        return nothing if found is None else found

    async def put(self, key: str, value: bytes, ttl_seconds: int) -> bool:
        """Keep `value` for `ttl_seconds`; whether it is kept. One over 256 KiB is not."""
        return await self.put_many({key: value}, ttl_seconds)

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: int) -> bool:
        """Keep `values` for `ttl_seconds` from now; whether all are kept."""
        small = {key: value for key, value in values.items() if len(value) <= VALUE_BYTES}
        if not small:
            return not values
        pipeline = self._redis.client.pipeline(transaction=False)
        for key, value in small.items():
            pipeline.set(PREFIX + key, value, ex=ttl_seconds)
        done = await self._redis.ask(pipeline.execute)
        return done is not None and len(small) == len(values)

    async def put_new(self, key: str, value: bytes, ttl_seconds: int) -> None:
        """Keep `value` for `ttl_seconds` unless `key` has one already."""
        await self._redis.ask(
            lambda: self._redis.client.set(PREFIX + key, value, ex=ttl_seconds, nx=True)
        )
