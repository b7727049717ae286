"""The active model is a row of the store, which a process takes at its start and follows then."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from memory.embedding.recipes import Recipe
from memory.settings import Settings
from tasks.embedding import claim, embed_claimed
from tasks.moving import migrate_step
from tasks.resources import Resources
from tests.api.speaking import Speaker, contents
from tests.api.test_runtime import served
from tests.conftest import message, serving
from tests.memory.embedding import fake_api
from tests.processes import wait_until
from tests.tasks.moves import (
    assert_moved,
    begin,
    dimensions_of,
    go_to,
    held,
    move,
)

OLD = 1
NO_OLD_VECTORS = text("delete from message_embeddings where model_id = 1")
STATUS = text("select embedding_status from messages where id = :id")
OPENAI = Recipe(provider="openai", dimensions=fake_api.DIMENSIONS)
# Longer than any test: such a process does not hear of a move.
NEVER = 3_600.0


@pytest.fixture
def resources(settings: Settings) -> Iterator[Resources]:
    """What a worker has."""
    resources = Resources(settings)
    yield resources
    resources.close()


@pytest.fixture
def speaker(api: httpx.Client) -> Speaker:
    return Speaker(api, "acme")


def say(speaker: Speaker, resources: Resources, *said: str) -> None:
    """Say things, and have them embedded."""
    speaker.say_all([message(content=content) for content in said])
    while claimed := claim(resources, "acme", [], False):
        embed_claimed(resources, "acme", claimed)


def by_meaning(speaker: Speaker, query: str) -> list[str]:
    return contents(speaker.finds(query, mode="semantic", top_k=1))


def rerank_score(speaker: Speaker) -> float | None:
    (hit,) = speaker.finds("Lisbon", explain=True)
    score: float | None = hit["explanation"]["rerank"]
    return score


def readiness(api: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = api.get("/v1/admin/readiness").json()
    return answer


def test_a_process_that_runs_follows_within_seconds(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    say(speaker, resources, "I live in Lisbon.", "I work in Porto.")
    assert by_meaning(speaker, "I live in Lisbon?") == ["I live in Lisbon."]
    move(resources)
    # With the old model nothing would be found any more.
    owner.execute(NO_OLD_VECTORS)
    wait_until(lambda: by_meaning(speaker, "I work in Porto?"), "the new one is followed")
    assert by_meaning(speaker, "I live in Lisbon?") == ["I live in Lisbon."]
    (hit,) = speaker.finds("I live in Lisbon.", mode="semantic", top_k=1)
    assert hit["similarity"] == pytest.approx(1, abs=1e-3)


def test_a_query_is_answered_by_the_model_that_it_was_embedded_with(
    speaker: Speaker, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No search fails or is worse, whichever moment of the change it meets."""
    monkeypatch.setattr("api.runtime.FOLLOW_SECONDS", 0.05)
    say(speaker, resources, *(f"note {number} of many" for number in range(50)))
    job = held(resources, begin(resources))
    answered = 0
    while migrate_step(resources, job) is None:
        answered += 1
        assert by_meaning(speaker, f"note {answered} of many") == [f"note {answered} of many"]
    for number in range(30):
        answer = speaker.answer(f"note {number} of many")
        assert not answer["degraded"]
        assert answer["items"][0]["content"] == f"note {number} of many"


def test_a_start_with_unchanged_settings_takes_the_stores_model(
    settings: Settings, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(settings) as api:
        say(Speaker(api, "acme"), resources, "I live in Lisbon.")
    move(resources)
    with caplog.at_level(logging.WARNING), serving(settings) as api:
        assert readiness(api)["status"] == "ready"
        assert by_meaning(Speaker(api, "acme"), "I live in Lisbon.") == ["I live in Lisbon."]
    (said,) = (line for line in caplog.messages if "settings_name_another_model" in line)
    assert "settings='mock'" in said
    assert "active='mock (256 dimensions)'" in said
    assert "MEMORY_EMBEDDING_PROVIDER" in said


def test_settings_that_name_the_new_model_are_as_good(
    settings: Settings, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    resources.check_model()
    move(resources)
    named = msgspec.structs.replace(settings, embedding_dimensions=256)
    with caplog.at_level(logging.WARNING), serving(named) as api:
        assert readiness(api)["status"] == "ready"
    assert "settings_name_another_model" not in caplog.text


def test_a_model_that_cannot_be_made_here_is_named_at_the_start(settings: Settings) -> None:
    with fake_api.serving() as provider:
        there = msgspec.structs.replace(settings, openai_base_url=provider.url)
        resources = Resources(there)
        resources.check_model()
        move(resources, OPENAI)
        resources.close()
    refused = served(msgspec.structs.replace(settings, api_port=0))
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert (
        "text-embedding-3-small (8 dimensions), provider openai: MEMORY_OPENAI_API_KEY is not set"
    ) in refused.stderr


def test_a_process_that_cannot_have_the_new_model_keeps_the_old_one_and_says_so(
    settings: Settings, api: httpx.Client
) -> None:
    with fake_api.serving() as provider:
        there = Resources(msgspec.structs.replace(settings, openai_base_url=provider.url))
        speaker = Speaker(api, "acme")
        say(speaker, there, "I live in Lisbon.")
        move(there, OPENAI)
        there.close()
    wait_until(lambda: readiness(api)["status"] == "degraded", "it is said")
    (reason,) = readiness(api)["reasons"]
    assert "new model cannot be used here" in reason
    assert "MEMORY_OPENAI_API_KEY is not set" in reason
    assert by_meaning(speaker, "I live in Lisbon.") == ["I live in Lisbon."]


def test_a_reranker_that_cannot_read_with_the_new_model_is_left_out(
    settings: Settings, resources: Resources
) -> None:
    with fake_api.serving() as provider:
        elsewhere = msgspec.structs.replace(settings, openai_base_url=provider.url)
        reading = msgspec.structs.replace(elsewhere, reranker="late_interaction")
        there = Resources(elsewhere)
        with serving(reading) as api:
            speaker = Speaker(api, "acme")
            say(speaker, there, "I live in Lisbon.")
            assert rerank_score(speaker) is not None
            move(there, OPENAI)
            asked = len(provider.requests)
            wait_until(
                lambda: speaker.answer("Lisbon") and len(provider.requests) > asked,
                "the new model is asked for a query's vector",
            )
            assert rerank_score(speaker) is None
        there.close()


def test_inline_a_message_gets_the_vector_of_the_new_model_whatever_it_was_embedded_with(
    inline_settings: Settings,
    resources: Resources,
    owner: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.runtime.FOLLOW_SECONDS", NEVER)
    monkeypatch.setattr("api.upkeep.INTERVAL_SECONDS", NEVER)
    with serving(inline_settings) as api:
        move(resources)
        answer = api.post("/v1/messages", json=message())
        posted = answer.json()
        assert (answer.status_code, posted["embedding_status"]) == (202, "pending")
        wait_until(lambda: is_embedded(owner, posted), "it is embedded")
    assert dimensions_of(owner, posted["id"]) == [256]
    assert_moved(owner)


def test_inline_a_message_that_comes_during_a_move_is_found_and_gets_both(
    inline_settings: Settings,
    resources: Resources,
    owner: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.upkeep.INTERVAL_SECONDS", NEVER)
    with serving(inline_settings) as api:
        job = held(resources, begin(resources))
        go_to(resources, job, "fill")
        with monkeypatch.context() as patched:
            patched.setattr("api.upkeep.Upkeep.wake", lambda _: None)
            posted = api.post("/v1/messages", json=message(content="I live in Lisbon.")).json()
        assert posted["embedding_status"] == "pending"
        assert by_meaning(Speaker(api, "acme"), "I live in Lisbon.") == ["I live in Lisbon."]
        api.post("/v1/messages", json=message(content="I work in Porto."))
        wait_until(lambda: is_embedded(owner, posted), "it is embedded")
        assert dimensions_of(owner, posted["id"]) == [256, 384]
        go_to(resources, job, "switched")
    assert_moved(owner)


def is_embedded(owner: Connection, posted: dict[str, Any]) -> bool:
    return owner.scalar(STATUS, {"id": posted["id"]}) == "completed"
