"""Kept answers: found again, and never older than a change that was told."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from api.brief_redis import CONNECTIONS
from api.cache import Cache
from api.metrics import Metrics
from api.search_answers import ANSWER_SECONDS, ERA, Lookup, SearchAnswers
from cli.valkey import EmbeddedValkey
from tests.api.redis_outages import OwnUser, pause_is_over

QUESTION = b'{"query":"bees","top_k":5}'


@pytest.fixture
def user(valkey: EmbeddedValkey) -> Iterator[OwnUser]:
    made = OwnUser(valkey.url)
    yield made
    made.close()


@pytest.fixture
async def cache(user: OwnUser) -> AsyncIterator[Cache]:
    cache = Cache.connect(user.url)
    yield cache
    await cache.aclose()


@pytest.fixture
async def elsewhere(valkey: EmbeddedValkey) -> AsyncIterator[SearchAnswers]:
    """The answers as another process has them, on the same Redis."""
    cache = Cache.connect(valkey.url)
    yield SearchAnswers(cache, Metrics())
    await cache.aclose()


@pytest.fixture
def answers(cache: Cache) -> SearchAnswers:
    return SearchAnswers(cache, Metrics())


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has."""
    return uuid.uuid4().hex


async def keep(answers: SearchAnswers, tenant: str, answer: bytes = b"answer") -> None:
    """Answer a question as a search does."""
    lookup = await answers.get(tenant, QUESTION)
    assert lookup.version is not None
    await answers.put(tenant, lookup.version, QUESTION, answer)


async def kept(answers: SearchAnswers, tenant: str, question: bytes = QUESTION) -> bytes | None:
    return (await answers.get(tenant, question)).answer


async def test_an_answer_is_given_again(
    answers: SearchAnswers, elsewhere: SearchAnswers, tenant: str
) -> None:
    assert await kept(answers, tenant) is None
    await keep(answers, tenant, b'{"items":[]}\0')
    assert await kept(answers, tenant) == b'{"items":[]}\0'
    assert await kept(elsewhere, tenant) == b'{"items":[]}\0'


async def test_an_empty_answer_is_one(answers: SearchAnswers, tenant: str) -> None:
    await keep(answers, tenant, b"")
    assert await kept(answers, tenant) == b""


async def test_it_is_that_of_the_question_and_the_tenant(
    answers: SearchAnswers, tenant: str
) -> None:
    await keep(answers, tenant)
    assert await kept(answers, tenant, QUESTION + b" ") is None
    assert await kept(answers, f"{tenant}-2") is None


async def test_it_lives_for_a_minute(answers: SearchAnswers, user: OwnUser, tenant: str) -> None:
    await keep(answers, tenant)
    (key,) = user.client.keys(f"memory-cache:answer:{tenant}:*")
    assert 0 < user.client.ttl(key) <= ANSWER_SECONDS
    assert user.client.ttl(f"memory-cache:version:{tenant}") > 10 * ANSWER_SECONDS


async def test_a_change_ends_the_answers_of_its_tenants_alone(
    answers: SearchAnswers, elsewhere: SearchAnswers, tenant: str
) -> None:
    tenants = [f"{tenant}-{number}" for number in range(3)]
    for each in tenants:
        await keep(answers, each)
    await elsewhere.changed(tenants[:2])
    assert [await kept(answers, each) for each in tenants] == [None, None, b"answer"]
    await keep(answers, tenants[0], b"new")
    assert await kept(elsewhere, tenants[0]) == b"new"


@pytest.mark.parametrize("known", [True, False], ids=["known tenant", "new tenant"])
async def test_an_answer_of_before_a_change_is_never_given_after_it(
    answers: SearchAnswers, elsewhere: SearchAnswers, tenant: str, known: bool
) -> None:
    if known:
        await elsewhere.changed([tenant])
    before = await answers.get(tenant, QUESTION)
    await elsewhere.changed([tenant])
    await answers.put(tenant, before.version, QUESTION, b"old")
    assert await kept(answers, tenant) is None
    after = await answers.get(tenant, QUESTION)
    await answers.put(tenant, after.version, QUESTION, b"new")
    await answers.put(tenant, before.version, QUESTION, b"old")
    assert await kept(answers, tenant) is None


@pytest.mark.parametrize("forgotten", ["version", "era", "all"])
async def test_what_redis_forgets_brings_no_old_answer_back(
    answers: SearchAnswers, user: OwnUser, tenant: str, forgotten: str
) -> None:
    names = {"version": [f"version:{tenant}"], "era": [ERA], "all": [f"version:{tenant}", ERA]}
    before = await answers.get(tenant, QUESTION)
    await answers.put(tenant, before.version, QUESTION, b"old")
    user.client.delete(*(f"memory-cache:{name}" for name in names[forgotten]))
    assert await kept(answers, tenant) is None
    await answers.put(tenant, before.version, QUESTION, b"old")
    assert await kept(answers, tenant) is None
    await keep(answers, tenant, b"new")
    assert await kept(answers, tenant) == b"new"


async def test_of_many_who_ask_first_all_have_one_version(
    answers: SearchAnswers, elsewhere: SearchAnswers, user: OwnUser, tenant: str
) -> None:
    user.client.delete(f"memory-cache:{ERA}")
    askers = [answers, elsewhere] * 10
    lookups = await asyncio.gather(*(each.get(tenant, QUESTION) for each in askers))
    assert len({lookup.version for lookup in lookups}) == 1
    assert lookups[0].version is not None


async def test_a_change_that_could_not_be_told_is_made_good(
    answers: SearchAnswers, elsewhere: SearchAnswers, cache: Cache, user: OwnUser, tenant: str
) -> None:
    await keep(answers, tenant)
    with user.thrown_out():
        await answers.changed([tenant])
        pause_is_over(cache._redis)
        assert await answers.get(tenant, QUESTION) == Lookup(None, None)
    pause_is_over(cache._redis)
    assert await kept(answers, tenant) is None
    assert await kept(elsewhere, tenant) is None
    await keep(answers, tenant, b"new")
    assert await kept(elsewhere, tenant) == b"new"


async def test_a_change_whose_caller_is_cancelled_is_made_good(
    answers: SearchAnswers, elsewhere: SearchAnswers, cache: Cache, tenant: str
) -> None:
    await keep(answers, tenant)
    # So that it is cancelled before it has sent anything.
    async with contextlib.AsyncExitStack() as busy:
        for _ in range(CONNECTIONS):
            await busy.enter_async_context(cache._redis._slots)
        telling = asyncio.create_task(answers.changed([tenant]))
        await asyncio.sleep(0)
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling
    assert await kept(answers, tenant) is None
    assert await kept(elsewhere, tenant) is None


async def test_changes_that_come_together_are_told_together(
    answers: SearchAnswers, elsewhere: SearchAnswers, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = [f"t{number}" for number in range(20)]
    for each in tenants:
        await keep(elsewhere, each)
    told: list[int] = []
    put_many = cache.put_many

    async def noted(values: Mapping[str, bytes], ttl_seconds: int) -> bool:
        told.append(len(values))
        return await put_many(values, ttl_seconds)

    monkeypatch.setattr(cache, "put_many", noted)
    await asyncio.gather(*(answers.changed([each]) for each in tenants for _ in range(3)))
    assert told == [20]
    assert [await kept(elsewhere, each) for each in tenants] == [None] * 20


async def test_the_next_change_makes_the_last_good(
    answers: SearchAnswers, elsewhere: SearchAnswers, cache: Cache, user: OwnUser, tenant: str
) -> None:
    await keep(elsewhere, tenant)
    with user.thrown_out():
        await answers.changed([tenant])
    pause_is_over(cache._redis)
    await answers.changed([f"{tenant}-2"])
    assert await kept(elsewhere, tenant) is None


@pytest.mark.parametrize("value", [b"", b"short", bytes(40)])
async def test_a_version_that_is_none_keeps_nothing(
    answers: SearchAnswers, user: OwnUser, tenant: str, value: bytes
) -> None:
    user.client.set(f"memory-cache:version:{tenant}", value, ex=100)
    lookup = await answers.get(tenant, QUESTION)
    assert lookup == Lookup(None, None)
    await answers.put(tenant, lookup.version, QUESTION, b"answer")
    assert user.client.keys(f"memory-cache:answer:{tenant}:*") == []
    await answers.changed([tenant])
    await keep(answers, tenant)
    assert await kept(answers, tenant) == b"answer"


async def test_without_redis_nothing_is_kept(closed_port: int, tenant: str) -> None:
    for cache in (None, Cache.connect(f"redis://127.0.0.1:{closed_port}/0")):
        answers = SearchAnswers(cache, Metrics())
        lookup = await answers.get(tenant, QUESTION)
        assert lookup == Lookup(None, None)
        await answers.put(tenant, lookup.version, QUESTION, b"answer")
        await answers.changed([tenant])
        assert await kept(answers, tenant) is None


async def test_a_hit_asks_redis_once(answers: SearchAnswers, user: OwnUser, tenant: str) -> None:
    def commands() -> int:
        return int(user.client.info("stats")["total_commands_processed"])

    await keep(answers, tenant)
    await kept(answers, tenant)
    before = commands()
    assert await kept(answers, tenant) == b"answer"
    assert commands() - before == 2  # The one, and the INFO before it.


async def test_look_ups_are_counted(cache: Cache, tenant: str) -> None:
    metrics = Metrics()
    answers = SearchAnswers(cache, metrics)
    await keep(answers, tenant)
    for _ in range(3):
        await kept(answers, tenant)
    counted = {
        result: metrics.registry.get_sample_value(
            "memory_cache_requests_total", {"cache": "search_answer", "result": result}
        )
        for result in ("redis", "miss")
    }
    assert counted == {"redis": 3, "miss": 1}
