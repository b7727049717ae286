"""Searching while a part of the service is away."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.speaking import Speaker, contents
from tests.api.test_metrics import counts
from tests.conftest import serving
from tests.memory.embedding import fake_api

REASON = "The query could not be embedded; the answer is by its words alone."
REFUSED = fake_api.Answer(status=400)
FILTERED = fake_api.Answer(status=400, body={"error": {"message": "content filter"}})


@pytest.fixture
def fake() -> Iterator[fake_api.FakeApi]:
    with fake_api.serving() as provider:
        yield provider


@pytest.fixture
def remote(settings: Settings, fake: fake_api.FakeApi) -> Iterator[httpx.Client]:
    """A service whose embeddings come from elsewhere; no worker runs."""
    with serving(asking(settings, fake.url)) as api:
        yield api


def asking(settings: Settings, url: str) -> Settings:
    return msgspec.structs.replace(
        settings,
        embedding_provider="openai",
        embedding_dimensions=fake_api.DIMENSIONS,
        openai_base_url=url,
        openai_api_key="a-secret-key",
    )


def away(fake: fake_api.FakeApi) -> None:
    """The provider asks everybody to come back after the time that a query waits at most."""
    fake.answers = [fake_api.Answer(status=429, headers={"Retry-After": "60"}) for _ in range(20)]


def test_without_the_provider_the_words_decide(
    remote: httpx.Client, fake: fake_api.FakeApi
) -> None:
    speaker = Speaker(remote)
    speaker.say("I am allergic to peanuts.")
    away(fake)
    answer = speaker.answer("peanuts", explain=True)
    assert contents(answer["items"]) == ["I am allergic to peanuts."]
    assert (answer["degraded"], answer["degraded_reason"]) == (True, REASON)
    assert answer["mode"] == "hybrid"
    told = answer["items"][0]["explanation"]
    assert (told["similarity"], told["found_by"]) == (None, ["lexical"])
    assert told["relevance"] == told["lexical"]


def test_a_degraded_answer_is_not_kept(remote: httpx.Client, fake: fake_api.FakeApi) -> None:
    speaker = Speaker(remote)
    speaker.say("I am allergic to peanuts.")
    away(fake)
    assert [speaker.answer("peanuts")["cached"] for _ in range(2)] == [False, False]
    fake.answers = []
    whole = speaker.answer("peanuts")
    assert (whole["degraded"], whole["degraded_reason"], whole["cached"]) == (False, None, False)
    assert speaker.answer("peanuts")["cached"]
    # Nor does an outage end what was kept while all was well.
    away(fake)
    assert speaker.answer("peanuts")["cached"]


def test_a_query_that_the_provider_refuses_is_answered_by_its_words(
    remote: httpx.Client, fake: fake_api.FakeApi
) -> None:
    speaker = Speaker(remote)
    speaker.say("I am allergic to peanuts.")
    fake.answers = [REFUSED]
    assert speaker.answer("peanuts")["degraded"]
    fake.answers = [FILTERED]
    assert_problem(speaker.get("nuts", mode="semantic"), 422, "embedding-rejected")


def test_by_meaning_alone_there_is_no_answer(remote: httpx.Client, fake: fake_api.FakeApi) -> None:
    speaker = Speaker(remote)
    away(fake)
    assert_problem(speaker.get("peanuts", mode="semantic"), 503, "unavailable")
    assert_problem(speaker.post(queries=["a", "b"], mode="semantic"), 503, "unavailable")
    fake.answers = []
    assert speaker.answer("peanuts", mode="semantic")["degraded"] is False


def test_by_words_alone_the_provider_is_not_asked(
    remote: httpx.Client, fake: fake_api.FakeApi
) -> None:
    speaker = Speaker(remote)
    speaker.say("I am allergic to peanuts.")
    away(fake)
    asked = len(fake.requests)
    answer = speaker.answer("peanuts", mode="lexical", context=1, explain=True)
    assert contents(answer["items"]) == ["I am allergic to peanuts."]
    assert not answer["degraded"]
    assert speaker.post(queries=["peanuts"] * 32, mode="lexical").status_code == 200
    assert len(fake.requests) == asked


def test_of_many_queries_each_says_for_itself_that_it_is_degraded(
    remote: httpx.Client, fake: fake_api.FakeApi
) -> None:
    speaker = Speaker(remote)
    speaker.say("I am allergic to peanuts.")
    assert not speaker.answer("peanuts")["degraded"]
    away(fake)
    results = speaker.post(queries=["peanuts", "allergic"]).json()["results"]
    assert [(each["cached"], each["degraded"]) for each in results] == [
        (True, False),
        (False, True),
    ]
    assert [contents(each["items"]) for each in results] == [["I am allergic to peanuts."]] * 2


def test_a_wrong_key_is_an_error_and_no_degraded_answer(
    remote: httpx.Client, fake: fake_api.FakeApi
) -> None:
    fake.answers = [fake_api.Answer(status=401)]
    assert_problem(Speaker(remote).get("peanuts"), 503, "unavailable")


def with_cache(settings: Settings, port: int) -> Settings:
    return msgspec.structs.replace(settings, cache_url=f"redis://127.0.0.1:{port}/0")


@pytest.mark.parametrize("kind", ["closed_port", "black_hole"])
def test_without_redis_searches_work(
    settings: Settings, kind: str, request: pytest.FixtureRequest
) -> None:
    with serving(with_cache(settings, request.getfixturevalue(kind))) as api:
        speaker = Speaker(api)
        for number in range(3):
            speaker.say(f"peanuts {number}", conversation_id=str(number))
            answer: dict[str, Any] = speaker.answer("peanuts")
            assert len(answer["items"]) == number + 1
            assert (answer["cached"], answer["degraded"]) == (False, False)
        looked_up = 'memory_cache_requests_total{cache="search_answer",result="miss"}'
        assert counts(api)[looked_up] == 3
