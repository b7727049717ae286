"""Searching: what is answered, in which order, and to whom."""

from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection

from tests.api.answers import found, moment, row
from tests.api.speaking import Speaker, contents
from tests.conftest import message
from tests.processes import wait_until

FIELDS = {
    "message_id",
    "conversation_id",
    "role",
    "content",
    "metadata",
    "score",
    "similarity",
    "relevance",
    "importance",
    "recency",
    "created_at",
}


def test_a_hit_has_the_documented_fields(speaker: Speaker) -> None:
    said = "2024-05-01T10:00:00+02:00"
    id_ = speaker.say(
        "I keep bees.", role="assistant", metadata={"a": [1, {"b": None}]}, created_at=said
    )
    (hit,) = speaker.finds("bees")
    assert set(hit) == FIELDS
    assert UUID(hit["message_id"]) == UUID(id_)
    assert (hit["conversation_id"], hit["role"]) == ("c-1", "assistant")
    assert (hit["content"], hit["metadata"]) == ("I keep bees.", {"a": [1, {"b": None}]})
    assert moment(hit["created_at"]) == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert hit["importance"] == speaker.api.get(f"/v1/messages/{id_}").json()["importance_score"]
    for figure in ("score", "similarity", "relevance", "recency"):
        assert 0 < hit[figure] < 1, figure


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_an_answer_says_what_it_answers(speaker: Speaker, mode: str) -> None:
    speaker.say("bees", conversation_id="c-2")
    answer = speaker.answer("bees", mode=mode, conversation_id="c-2", role=["user", "tool"])
    assert set(answer) == {
        "total",
        "items",
        "scope",
        "mode",
        "degraded",
        "degraded_reason",
        "cached",
    }
    assert answer["scope"] == {
        "tenant_id": speaker.tenant_id,
        "conversation_id": "c-2",
        "role": ["user", "tool"],
    }
    assert answer["mode"] == mode
    assert (answer["degraded"], answer["degraded_reason"], answer["cached"]) == (False, None, False)
    assert contents(answer["items"]) == ["bees"]
    assert speaker.answer("bees")["scope"] == {"tenant_id": speaker.tenant_id}
    assert speaker.answer("bees")["mode"] == "hybrid"


def test_its_own_words_find_a_message_best(speaker: Speaker) -> None:
    for content in ("the red fox", "the red car", "a blue car"):
        speaker.say(content)
    items = speaker.finds("the red fox")
    assert contents(items)[:2] == ["the red fox", "the red car"]
    assert items[0]["similarity"] == pytest.approx(1, abs=1e-3)
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_importance_breaks_a_tie_and_then_time_does(speaker: Speaker, mode: str) -> None:
    def said(content: str, conversation: str, **changes: object) -> str:
        return speaker.say(content, conversation_id=conversation, **changes)

    old = said("same words", "a", created_at="2020-01-01T00:00:00Z")
    new = said("same words", "b", created_at="2021-01-01T00:00:00Z")
    important = said("same words", "c", importance_override=0.9)
    items = speaker.finds("same words", mode=mode)
    assert [item["message_id"] for item in items] == [important, new, old]


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_top_k_is_what_one_gets(speaker: Speaker, mode: str) -> None:
    messages = [message(content=f"note {number}") for number in range(120)]
    speaker.say_all(messages)
    assert len(speaker.finds("note", mode=mode)) == 5
    assert len(speaker.finds("note", mode=mode, top_k=1)) == 1
    ids = {item["message_id"] for item in speaker.finds("note", mode=mode, top_k=100)}
    assert len(ids) == 100


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_tenants_see_their_own_only(shared: httpx.Client, mode: str) -> None:
    ours, theirs = Speaker(shared), Speaker(shared)
    ours.say("our bees")
    theirs.say("their bees")
    assert contents(ours.finds("bees", top_k=100, mode=mode)) == ["our bees"]
    assert contents(theirs.finds("bees", top_k=100, mode=mode)) == ["their bees"]


def test_a_tenant_that_nobody_knows_has_nothing(shared: httpx.Client) -> None:
    assert found(shared, "bees", tenant_id="nobody") == []


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_any_language(speaker: Speaker, mode: str) -> None:
    for content in ("我住在里斯本", "Ich wohne in Köln 🌍", "أعيش في القاهرة"):
        speaker.say(content)
        assert contents(speaker.finds(content, top_k=1, mode=mode)) == [content]


@pytest.mark.parametrize("query", ["word " * 999, "🌍" * 5_000, "%", "' or 1=1 --", "\n", "+&?#"])
def test_any_query(shared: httpx.Client, query: str) -> None:
    assert isinstance(found(shared, query), list)


@pytest.mark.parametrize("query", ["the", "?!", "zeppelin", " "])
def test_words_that_nothing_has_find_nothing_lexically(speaker: Speaker, query: str) -> None:
    speaker.say("the bees")
    assert speaker.finds(query, mode="lexical") == []
    assert contents(speaker.finds(query, mode="semantic")) == ["the bees"]
    assert contents(speaker.finds(query)) == ["the bees"]


def test_words_are_found_by_their_stems_and_names_by_their_letters(speaker: Speaker) -> None:
    speaker.say("She was baking cakes at Zoë's place", conversation_id="a")
    speaker.say("The build broke in getHTTPUrl of release 4.2.1", conversation_id="b")
    for query in ("bakes", "CAKE", "zoe"):
        assert len(speaker.finds(query, mode="lexical")) == 1, query
    for query in ("getHTTPUrl", "4.2.1", "url"):
        assert contents(speaker.finds(query, mode="lexical"))[0].startswith("The build"), query


def test_what_is_not_embedded_yet_is_found_by_its_words(api: httpx.Client) -> None:
    speaker = Speaker(api)
    speaker.say("I am allergic to peanuts.")
    speaker.say("I live in Lisbon.", conversation_id="c-2")
    answer = speaker.answer("peanuts", explain=True)
    (hit,) = answer["items"]
    assert hit["content"] == "I am allergic to peanuts."
    assert (answer["degraded"], answer["degraded_reason"]) == (False, None)
    assert hit["similarity"] == 0
    assert hit["explanation"]["similarity"] is None
    assert hit["explanation"]["found_by"] == ["lexical"]
    # The words decide alone, rather than count a third of what they will.
    assert hit["relevance"] == hit["explanation"]["lexical"] > 0
    assert contents(speaker.finds("peanuts", mode="lexical")) == ["I am allergic to peanuts."]
    assert speaker.finds("peanuts", mode="semantic") == []


def test_once_it_is_embedded_it_is_found_by_its_meaning(
    api: httpx.Client, worker: CeleryTestWorker, owner: Connection
) -> None:
    speaker = Speaker(api)
    id_ = speaker.say("I am allergic to peanuts.")
    wait_until(lambda: row(owner, id_)["embedding_status"] == "completed", "it is embedded")
    (hit,) = speaker.finds("peanuts", mode="semantic")
    assert (hit["message_id"], hit["relevance"]) == (id_, hit["similarity"])
    # To the mock, whose vectors are sums of words, this shares a word; to the index it has none.
    (hit,) = speaker.finds("am I", explain=True)
    assert hit["explanation"]["found_by"] == ["semantic"]
    (hit,) = speaker.finds("peanuts", explain=True)
    assert hit["explanation"]["found_by"] == ["semantic", "lexical"]
