"""Searching: what is answered, in which order, and to whom."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Connection

from tests.api.answers import assert_problem, found, moment
from tests.conftest import message

FIELDS = {
    "message_id",
    "conversation_id",
    "role",
    "content",
    "metadata",
    "score",
    "similarity",
    "importance",
    "created_at",
}


class Speaker:
    """A tenant of the shared service that no other test has."""

    def __init__(self, api: httpx.Client) -> None:
        self.api = api
        self.tenant_id = uuid4().hex

    def say(self, content: str, **changes: Any) -> str:
        """Store a message; gives its id."""
        body = message(**{"tenant_id": self.tenant_id, "content": content, **changes})
        answer = self.api.post("/v1/messages", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def say_all(self, messages: list[dict[str, Any]]) -> None:
        """Store many at once."""
        body = {"messages": [{**each, "tenant_id": self.tenant_id} for each in messages]}
        assert self.api.post("/v1/messages/batch", json=body).status_code == 200

    def finds(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The items of a search."""
        return found(self.api, query, **{"tenant_id": self.tenant_id, **parameters})


@pytest.fixture
def speaker(shared: httpx.Client) -> Speaker:
    return Speaker(shared)


def contents(items: list[dict[str, Any]]) -> list[str]:
    return [item["content"] for item in items]


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
    assert hit["importance"] == 0.45
    assert 0 < hit["similarity"] < 1
    assert hit["score"] == pytest.approx(0.7 * hit["similarity"] + 0.3 * 0.45)


def test_its_own_words_find_a_message_best(speaker: Speaker) -> None:
    for content in ("the red fox", "the red car", "a blue car"):
        speaker.say(content)
    items = speaker.finds("the red fox")
    assert contents(items)[:2] == ["the red fox", "the red car"]
    assert items[0]["similarity"] == pytest.approx(1, abs=1e-3)
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)


def test_importance_breaks_a_tie_and_then_time_does(speaker: Speaker) -> None:
    old = speaker.say("same words", created_at="2020-01-01T00:00:00Z")
    new = speaker.say("same words", created_at="2021-01-01T00:00:00Z")
    important = speaker.say("same words", importance_override=0.9)
    items = speaker.finds("same words")
    assert [item["message_id"] for item in items] == [important, new, old]


def test_top_k_is_what_one_gets(speaker: Speaker) -> None:
    messages = [message(content=f"note {number}") for number in range(120)]
    speaker.say_all(messages)
    assert len(speaker.finds("note")) == 5
    assert len(speaker.finds("note", top_k=1)) == 1
    assert len(speaker.finds("note", top_k=100)) == 100


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("top_k", "0"),
        ("top_k", "101"),
        ("top_k", "-1"),
        ("top_k", "five"),
        ("top_k", ""),
        ("top_k", "5.5"),
        ("importance_min", "-0.1"),
        ("importance_min", "1.1"),
        ("importance_min", "nan"),
        ("importance_min", "inf"),
        ("query", ""),
        ("query", "a\0b"),
        ("query", "x" * 5_001),
        ("tenant_id", ""),
        ("tenant_id", "a,b"),
        ("tenant_id", "acme\n"),
        ("tenant_id", "x" * 65),
        ("conversation_id", ""),
        ("conversation_id", "\0"),
        ("conversation_id", "x" * 129),
    ],
)
def test_a_bad_parameter_is_named(shared: httpx.Client, parameter: str, value: str) -> None:
    parameters = {"tenant_id": "acme", "query": "bees", parameter: value}
    answer = shared.get("/v1/memory/search", params=parameters)
    assert_problem(answer, 400, "invalid-request", parameter)


@pytest.mark.parametrize("missing", ["query", "tenant_id"])
def test_a_missing_parameter_is_named_and_the_query_not_repeated(
    shared: httpx.Client, missing: str
) -> None:
    parameters = {"tenant_id": "acme", "query": "bees", "conversation_id": "secret"}
    del parameters[missing]
    answer = shared.get("/v1/memory/search", params=parameters)
    assert_problem(answer, 400, "invalid-request", missing)
    assert "secret" not in answer.text


def test_only_of_the_conversation(speaker: Speaker) -> None:
    speaker.say("bees here", conversation_id="one")
    speaker.say("bees there", conversation_id="two / 2 ü")
    assert contents(speaker.finds("bees", conversation_id="two / 2 ü")) == ["bees there"]
    assert speaker.finds("bees", conversation_id="three") == []


def test_nothing_less_important(speaker: Speaker) -> None:
    for importance in (0.2, 0.5, 0.8):
        speaker.say(f"bees {importance}", importance_override=importance)
    assert set(contents(speaker.finds("bees", importance_min=0.5))) == {"bees 0.5", "bees 0.8"}
    assert len(speaker.finds("bees", importance_min=0)) == 3
    assert speaker.finds("bees", importance_min=1) == []


def test_filters_find_what_is_far_down(speaker: Speaker) -> None:
    near = [message(content="bees bees", conversation_id="near") for _ in range(200)]
    speaker.say_all(near)
    speaker.say("nothing alike", conversation_id="far", importance_override=0.9)
    assert contents(speaker.finds("bees bees", conversation_id="far")) == ["nothing alike"]
    assert contents(speaker.finds("bees bees", importance_min=0.9)) == ["nothing alike"]


def test_tenants_see_their_own_only(shared: httpx.Client) -> None:
    ours, theirs = Speaker(shared), Speaker(shared)
    ours.say("our bees")
    theirs.say("their bees")
    assert contents(ours.finds("bees", top_k=100)) == ["our bees"]
    assert contents(theirs.finds("bees", top_k=100)) == ["their bees"]


def test_a_tenant_that_nobody_knows_has_nothing(shared: httpx.Client) -> None:
    assert found(shared, "bees", tenant_id="nobody") == []


def test_any_language(speaker: Speaker) -> None:
    for content in ("我住在里斯本", "Ich wohne in Köln 🌍", "أعيش في القاهرة"):
        speaker.say(content)
        assert contents(speaker.finds(content, top_k=1)) == [content]


@pytest.mark.parametrize("query", ["word " * 999, "🌍" * 5_000, "%", "' or 1=1 --", "\n", "+&?#"])
def test_any_query(shared: httpx.Client, query: str) -> None:
    assert isinstance(found(shared, query), list)


def test_what_is_not_embedded_yet_is_not_found(api: httpx.Client, owner: Connection) -> None:
    assert api.post("/v1/messages", json=message()).status_code == 202
    assert found(api, "peanuts") == []


def test_a_parameter_that_is_not_utf_8(shared: httpx.Client) -> None:
    for junk in ("%ff", "%ed%a0%80", "%", "%zz"):
        answer = shared.get(f"/v1/memory/search?tenant_id=acme&query={junk}")
        assert answer.status_code == 200
