"""A remote provider that fails again and again: what readiness says, and how searches go on."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from memory.embedding.breaker import Caution
from memory.embedding.openai import OpenAIEmbedder
from memory.settings import Settings
from tests.api.answers import assert_problem, stored
from tests.api.speaking import Speaker, contents
from tests.api.test_search_degraded import REASON, asking, away
from tests.conftest import message, serving
from tests.memory.embedding import fake_api
from tests.memory.embedding.clocks import Clock
from tests.memory.embedding.fake_api import Answer, FakeApi


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with fake_api.serving() as provider:
        yield provider


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the breakers of services that start from here on."""
    clock = Clock()
    defaults = OpenAIEmbedder.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "caution", Caution(clock=clock))
    return clock


@pytest.fixture
def remote(settings: Settings, fake: FakeApi, clock: Clock) -> Iterator[httpx.Client]:
    """A service whose embeddings come from elsewhere; no worker runs."""
    with serving(asking(settings, fake.url)) as api:
        yield api


def exhaust(speaker: Speaker, fake: FakeApi) -> None:
    """Search until the provider is left alone; from then on it would be silent."""
    away(fake)
    for number in range(5):
        assert speaker.answer(f"peanuts {number}")["degraded"]
    fake.answers = [Answer(silent=30) for _ in range(20)]


def readiness(api: httpx.Client) -> tuple[int, dict[str, Any]]:
    answer = api.get("/v1/admin/readiness")
    body = answer.json()
    return answer.status_code, {key: body[key] for key in ("status", "embedding", "reasons")}


def alone(failures: int, seconds: int = 30) -> tuple[int, dict[str, Any]]:
    """What readiness says meanwhile."""
    said = f"OpenAI is left alone for {seconds} s: it failed {failures} times in a row."
    return 200, {"status": "degraded", "embedding": "down", "reasons": [said]}


def test_searches_do_not_wait_for_a_provider_that_is_left_alone(
    remote: httpx.Client, fake: FakeApi
) -> None:
    speaker = Speaker(remote)
    speaker.say("I am allergic to peanuts.")
    exhaust(speaker, fake)
    asked = len(fake.requests)
    for number in range(10):
        answer = speaker.answer(f"peanuts again {number}")
        assert contents(answer["items"]) == ["I am allergic to peanuts."]
        assert (answer["degraded"], answer["degraded_reason"]) == (True, REASON)
    assert_problem(speaker.get("peanuts", mode="semantic"), 503, "unavailable")
    assert len(fake.requests) == asked


def test_readiness_says_so_and_the_service_stays_in_rotation(
    remote: httpx.Client, fake: FakeApi, clock: Clock
) -> None:
    assert readiness(remote)[1]["status"] == "ready"
    exhaust(Speaker(remote), fake)
    asked = len(fake.requests)
    assert readiness(remote) == alone(5)
    clock.now += 18
    assert readiness(remote) == alone(5, seconds=12)
    assert len(fake.requests) == asked


def test_without_a_search_readiness_finds_out_that_it_is_back(
    remote: httpx.Client, fake: FakeApi, clock: Clock
) -> None:
    exhaust(Speaker(remote), fake)
    clock.now += 30
    fake.answers = [Answer(503)]
    assert readiness(remote) == alone(6)
    clock.now += 30
    well = {"status": "ready", "reasons": []}
    assert readiness(remote) == (200, {**well, "embedding": "up"})
    # Then it is no longer asked.
    asked = len(fake.requests)
    assert readiness(remote) == (200, {**well, "embedding": "not_checked"})
    assert len(fake.requests) == asked
    assert not Speaker(remote).answer("peanuts")["degraded"]


def test_what_is_posted_inline_is_refused_at_once(
    inline_settings: Settings, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    with serving(asking(inline_settings, fake.url)) as api:
        exhaust(Speaker(api), fake)
        asked = len(fake.requests)
        assert_problem(api.post("/v1/messages", json=message()), 503, "unavailable")
        assert (len(fake.requests), stored(owner)) == (asked, 0)
        clock.now += 30
        fake.answers = []
        assert api.post("/v1/messages", json=message()).status_code == 200
