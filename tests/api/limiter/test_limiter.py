"""Limits over processes, and calls that are gathered."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api.limiter import GROUP_REQUESTS, Limiter
from api.metrics import Metrics
from cli.valkey import EmbeddedValkey
from memory.limits import Hit, Limit, Standing, read_limits
from tests.api.limiter.limiting import admitted, ask, figure, redis_of
from tests.api.redis_outages import OwnUser, pause_is_over

(TWENTY,) = read_limits("20/minute")
CLIENTS = 64
# A process of its own, where so many clients ask so often for leave; prints how often they got it.
CROWD = """
import asyncio, sys
import api.brief_redis
from api.limiter import Limiter
from api.metrics import Metrics
from memory.limits import Hit, read_limits

# A machine that is short of processors is not what is tried here.
api.brief_redis.CALL_SECONDS = 10

async def client(limiter, hits):
    standings = [await limiter.admit(hits) for _ in range(int(sys.argv[5]))]
    return sum(standing.retry_after is None for standing in standings)

async def crowd():
    limiter = Limiter(sys.argv[1], Metrics())
    hits = [Hit(sys.argv[2], limit) for limit in read_limits(sys.argv[3])]
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(await asyncio.gather(*(client(limiter, hits) for _ in range(int(sys.argv[4]))))))
    assert not limiter.degraded
    await limiter.aclose()

asyncio.run(crowd())
"""


def calls(user: OwnUser) -> int:
    """How many scripts Redis has run so far."""
    stats = user.client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


async def test_without_hits_nothing_is_asked(limiter: Limiter, user: OwnUser) -> None:
    before = calls(user)
    assert await limiter.admit([]) is None
    assert calls(user) == before


async def test_a_limit_is_told_and_kept(
    limiter: Limiter, hits: list[Hit], metrics: Metrics
) -> None:
    for used in range(1, 21):
        standing = await limiter.admit(hits)
        assert standing
        assert (standing.limit, standing.remaining, standing.retry_after) == (20, 20 - used, None)
    refused = await limiter.admit(hits)
    assert refused
    assert refused.retry_after
    assert 59 < refused.retry_after < 61
    assert figure(metrics, "rate_limit_refused_total", limit="tenant") == 1
    assert figure(metrics, "rate_limiter_degraded") == 0
    assert figure(metrics, "rate_limit_local_total") == 0


async def test_more_than_the_limit_never_passes(limiter: Limiter, hits: list[Hit]) -> None:
    standing = await limiter.admit([hits[0]._replace(cost=21)])
    assert standing
    assert standing.never


async def test_hits_of_one_request_that_count_together_are_one(
    limiter: Limiter, hits: list[Hit]
) -> None:
    dozen = [hits[0]._replace(cost=12)]
    refused = await limiter.admit(dozen + dozen)
    assert refused
    assert refused.never
    standing = await limiter.admit(dozen + hits)
    assert standing
    assert standing.remaining == 7


async def test_who_comes_during_a_call_goes_with_the_next(
    limiter: Limiter, user: OwnUser, hits: list[Hit]
) -> None:
    await limiter.admit(hits)
    before = calls(user)
    standings = await ask(limiter, hits, GROUP_REQUESTS + 5)
    assert admitted(standings) == 19
    # In the order in which they came.
    assert [standing.retry_after is None for standing in standings] == [True] * 19 + [False] * (
        GROUP_REQUESTS - 14
    )
    # Those of one round of the event loop are together from the start.
    assert calls(user) - before == 2


async def test_one_who_comes_alone_is_asked_for_at_once(
    limiter: Limiter, user: OwnUser, hits: list[Hit]
) -> None:
    await limiter.admit(hits)
    before = calls(user)
    for _ in range(3):
        await limiter.admit(hits)
    assert calls(user) - before == 3


async def test_one_who_is_cancelled_cancels_nobody_else(limiter: Limiter, hits: list[Hit]) -> None:
    for rounds in range(20):
        key = f"{hits[0].key}-{rounds}"
        asked = [asyncio.create_task(limiter.admit([hits[0]._replace(key=key)])) for _ in range(5)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        asked[0].cancel()
        asked[3].cancel()
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
        for place in (1, 2, 4):
            outcome = outcomes[place]
            assert isinstance(outcome, Standing)
            assert outcome.retry_after is None
        assert await limiter.admit([hits[0]._replace(key=key)])


def test_two_processes_admit_no_more_than_the_limit_together(
    valkey: EmbeddedValkey, hits: list[Hit]
) -> None:
    times = 20
    command = [sys.executable, "-c", CROWD, valkey.url, hits[0].key, "700/hour"]
    crowds = [
        subprocess.Popen(
            [*command, str(CLIENTS // 2), str(times)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for _ in range(2)
    ]
    try:
        for crowd in crowds:
            assert crowd.stdout
            assert crowd.stdout.readline() == "ready\n"
        # Ready, the two begin as near together as can be.
        for crowd in crowds:
            assert crowd.stdin
            crowd.stdin.write("\n")
            crowd.stdin.flush()
        got = [int(crowd.communicate(timeout=30)[0]) for crowd in crowds]
        assert [crowd.returncode for crowd in crowds] == [0, 0]
    finally:
        for crowd in crowds:
            crowd.kill()
            crowd.communicate()
            crowd.wait()
    assert sum(got) == 700
    assert min(got) > 0


async def test_a_redis_that_has_forgotten_the_script_is_no_failure(
    limiter: Limiter, user: OwnUser, hits: list[Hit]
) -> None:
    await limiter.admit(hits)
    user.client.script_flush()
    with capture_logs() as lines:
        standing = await limiter.admit(hits)
    assert standing
    assert standing.remaining == 18
    assert lines == []


async def test_at_the_end_those_who_wait_are_answered(user: OwnUser, hits: list[Hit]) -> None:
    limiter = Limiter(user.url, Metrics())
    asked = [asyncio.create_task(limiter.admit(hits)) for _ in range(5)]
    await asyncio.sleep(0)
    await limiter.aclose()
    assert all(await asyncio.gather(*asked))


async def test_what_nobody_foresaw_is_told_to_those_who_wait(
    limiter: Limiter, hits: list[Hit]
) -> None:
    # Redis takes it for no number, and the process for none either.
    broken = Hit(hits[0].key, Limit("many", 60, ""))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await limiter.admit([broken])
    pause_is_over(redis_of(limiter))
    assert await limiter.admit(hits)
