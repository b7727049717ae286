"""Kept answers: the same as new ones, and never of before a change."""

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import redis
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from api.search_answers import ANSWER_SECONDS
from cli.valkey import EmbeddedValkey
from memory.settings import Settings
from tests.api.answers import row
from tests.api.redis_outages import OwnUser
from tests.api.speaking import Speaker, contents
from tests.api.test_metrics import counts
from tests.conftest import message, serving
from tests.processes import wait_until

MODES = ["hybrid", "lexical"]
COUNTED = 'memory_cache_requests_total{{cache="{}",result="{}"}}'


@pytest.fixture
def acme(api: httpx.Client) -> Speaker:
    """A tenant of a service with Redis; no worker runs."""
    return Speaker(api, "acme")


def is_kept(speaker: Speaker, query: str = "bees", **parameters: Any) -> bool:
    """Asks until the answer is a kept one, which it must be the second time."""
    assert not speaker.answer(query, **parameters)["cached"]
    return bool(speaker.answer(query, **parameters)["cached"])


@pytest.mark.parametrize("asked", [{}, {"mode": "lexical"}, {"context": 2, "explain": True}])
def test_an_answer_given_again_is_the_same_but_for_saying_so(
    acme: Speaker, asked: dict[str, Any]
) -> None:
    for number in range(5):
        acme.say(f"bees {number}", metadata={"n": [number, None]})
    first = acme.answer("bees", **asked)
    again = acme.answer("bees", **asked)
    assert first["items"]
    assert (first.pop("cached"), again.pop("cached")) == (False, True)
    assert again == first


def test_by_url_or_by_body_it_is_the_same_question(acme: Speaker) -> None:
    acme.say("bees")
    acme.say("honey", conversation_id="c-2")
    assert not acme.answer("bees")["cached"]
    assert acme.post(query="bees").json()["cached"]
    results = acme.post(queries=["honey", "bees", "wax"]).json()["results"]
    assert [each["cached"] for each in results] == [False, True, False]
    assert [contents(each["items"])[:1] for each in results] == [["honey"], ["bees"], []]


@pytest.mark.parametrize(
    "changed",
    [
        {"query": "bee"},
        {"query": "Bees"},
        {"top_k": 6},
        {"mode": "lexical"},
        {"context": 1},
        {"explain": True},
        {"conversation_id": "c-1"},
        {"role": "user"},
        {"importance_min": 0.1},
        {"created_after": "2020-01-01T00:00:00Z"},
        {"metadata.a": 1},
        {"include_archived": True},
        {"rerank": "late_interaction"},
        {"w_recency": 0.03},
        {"half_life_days": 31},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_question_has_another_answer(acme: Speaker, changed: dict[str, Any]) -> None:
    acme.say("bees")
    assert is_kept(acme)
    assert not acme.answer(**{"query": "bees", **changed})["cached"]


@pytest.mark.parametrize("mode", MODES)
def test_after_a_post_there_is_a_new_answer(acme: Speaker, mode: str) -> None:
    acme.say("bees")
    assert is_kept(acme, mode=mode)
    acme.say("bees too")
    answer = acme.answer("bees", mode=mode)
    assert not answer["cached"]
    assert len(answer["items"]) == 2
    assert acme.answer("bees", mode=mode)["cached"]
    acme.say_all([message(content="bees three"), message(content="bees four")])
    assert len(acme.finds("bees", mode=mode)) == 4


def test_another_tenants_post_leaves_the_answers_alone(acme: Speaker, api: httpx.Client) -> None:
    acme.say("bees")
    assert is_kept(acme)
    Speaker(api, "globex").say("bees")
    assert acme.answer("bees")["cached"]


def test_after_a_post_elsewhere_there_is_a_new_answer(acme: Speaker, settings: Settings) -> None:
    acme.say("bees")
    assert is_kept(acme)
    with serving(settings) as elsewhere:
        assert Speaker(elsewhere, "acme").answer("bees")["cached"]
        Speaker(elsewhere, "acme").say("bees too")
    assert len(acme.finds("bees")) == 2


def test_once_messages_are_embedded_there_is_a_new_answer(
    acme: Speaker, owner: Connection, settings: Settings, request: pytest.FixtureRequest
) -> None:
    id_ = acme.say("bees")
    with redis.Redis.from_url(settings.redis_url) as client:
        wait_until(lambda: client.llen("embeddings"), "the task is sent")
    assert is_kept(acme)
    worker: CeleryTestWorker = request.getfixturevalue("worker")
    wait_until(lambda: row(owner, id_)["embedding_status"] == "completed", "it is embedded")
    # The worker ends the answers right after its commit.
    by_meaning = "it is found by its meaning, sooner than an answer is forgotten"
    wait_until(lambda: acme.finds("bees")[0]["similarity"] > 0.9, by_meaning, ANSWER_SECONDS / 3)
    assert acme.answer("bees")["cached"], worker.logs()


@pytest.mark.parametrize("parameters", [{}, {"mode": "lexical"}, {"context": 1}])
def test_a_deleted_message_is_in_no_kept_answer(
    acme: Speaker, owner: Connection, parameters: dict[str, Any]
) -> None:
    acme.say("bees one", conversation_id="c-1")
    acme.say("bees two", conversation_id="c-2")
    assert is_kept(acme, **parameters)
    owner.execute(text("delete from messages where content = 'bees one'"))
    answer = acme.answer("bees", **parameters)
    assert contents(answer["items"]) == ["bees two"]
    assert not answer["cached"]


def test_a_deleted_neighbour_is_in_no_kept_answer(acme: Speaker, owner: Connection) -> None:
    acme.say("a secret")
    acme.say("bees", role="tool")
    asked = {"role": "tool", "context": 1}
    assert is_kept(acme, **asked)
    assert contents(acme.finds("bees", **asked)[0]["before"]) == ["a secret"]
    owner.execute(text("delete from messages where content = 'a secret'"))
    assert "secret" not in acme.get("bees", **asked).text


@pytest.mark.parametrize("method", ["put", "delete"])
def test_other_settings_end_the_answers(acme: Speaker, api: httpx.Client, method: str) -> None:
    path = "/v1/admin/tenants/acme/settings"
    assert api.put(path, json={"w_recency": 0.5}).status_code == 200
    acme.say("bees")
    assert is_kept(acme)
    if method == "put":
        assert api.put(path, json={"w_recency": 0.6}).status_code == 200
    else:
        assert api.delete(path).status_code == 200
    assert not acme.answer("bees")["cached"]


def test_what_was_kept_is_counted(acme: Speaker, api: httpx.Client) -> None:
    acme.say("bees")
    for _ in range(3):
        acme.answer("bees")
    acme.answer("bees", top_k=1)
    found = counts(api)
    assert found[COUNTED.format("search_answer", "miss")] == 2
    assert found[COUNTED.format("search_answer", "redis")] == 2
    assert found[COUNTED.format("query_vector", "miss")] == 1
    # Where an answer was there before, nobody asks for the vector before there is none.
    assert found[COUNTED.format("query_vector", "process")] == 1
    assert found["memory_searches_total"] == 4


def test_another_process_knows_the_vector_of_a_query(acme: Speaker, settings: Settings) -> None:
    acme.say("bees")
    acme.answer("bees")
    with serving(settings) as elsewhere:
        Speaker(elsewhere, "acme").answer("bees", top_k=1)
        assert counts(elsewhere)[COUNTED.format("query_vector", "redis")] == 1


@pytest.fixture
def user(valkey: EmbeddedValkey) -> Iterator[OwnUser]:
    with contextlib.closing(OwnUser(valkey.url)) as made:
        yield made


def test_while_redis_is_gone_nothing_old_is_answered(settings: Settings, user: OwnUser) -> None:
    with serving(msgspec.structs.replace(settings, cache_url=user.url)) as api:
        speaker = Speaker(api)
        speaker.say("bees")
        assert is_kept(speaker)
        with user.thrown_out():
            assert len(speaker.finds("bees")) == 1
            speaker.say("bees too")
            assert len(speaker.finds("bees")) == 2
        wait_until(lambda: speaker.answer("bees")["cached"], "Redis is asked again")
        assert len(speaker.finds("bees")) == 2
