"""The windows of all processes, in Redis: one call admits many requests, one after another."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from memory.limits import Hit, Standing
from memory.windows import PARTS, standing

SCRIPT = Path(__file__).with_name("windows.lua").read_text()
DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
PREFIX = "limits:"
NO_WAIT = -1
FOREVER = -2


async def admit_in_redis(redis: Redis, lots: Sequence[Sequence[Hit]]) -> tuple[int, list[Standing]]:
    """The time of Redis in microseconds, and how it stands after each of `lots` of hits.

    A lot has one hit or more, and no two that count together. Redis's time counts, for the clocks
    of processes differ. A key lives little longer than its window; one that is evicted earlier
    would give its limit anew, so these belong into a Redis that evicts nothing, like the broker's.
    """
    names = list(dict.fromkeys(hit.window for hits in lots for hit in hits))
    places = {name: place for place, name in enumerate(names, 1)}
    arguments: list[int] = [PARTS]
    for hits in lots:
        arguments.append(len(hits))
        for hit in hits:
            arguments += places[hit.window], hit.limit.amount, hit.limit.seconds, hit.cost
    answer = await _run(redis, names, arguments)
    return answer[0], [_standing(hits, each) for hits, each in zip(lots, answer[1:], strict=True)]


async def _run(redis: Redis, names: list[str], arguments: list[int]) -> list[Any]:
    given = [*(PREFIX + name for name in names), *map(str, arguments)]
    try:
        answer: list[Any] = await redis.evalsha(DIGEST, len(names), *given)
    except NoScriptError:
        # Redis is new, or was told to forget its scripts; this lets it know the script again.
        answer = await redis.eval(SCRIPT, len(names), *given)
    return answer


def _standing(hits: Sequence[Hit], answer: Sequence[int]) -> Standing:
    number, remaining, reset, waited = answer
    wait = None if waited == NO_WAIT else math.inf if waited == FOREVER else waited
    return standing(hits[number - 1], remaining, reset, wait)
