"""Searching by POST: as GET, for long queries, and for many at once."""

import json
from typing import Any

import httpx
import pytest

from tests.api.answers import JSON, assert_problem
from tests.api.speaking import PATH, Speaker, contents
from tests.conftest import message

DEEP = 100_000


def raw(api: httpx.Client, field: str) -> httpx.Response:
    """The response to a search whose last field is written by hand."""
    body = '{"tenant_id": "acme", "query": "bees", ' + field + "}"
    return api.post(PATH, content=body.encode("utf-8", "surrogatepass"), headers=JSON)


def undated(value: Any) -> Any:
    """`value` without the figures that change from one moment to the next."""
    if isinstance(value, list):
        return [undated(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: undated(each) for key, each in value.items() if key not in ("recency", "score")}


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_the_answer_is_that_of_get(speaker: Speaker, mode: str) -> None:
    speaker.say_all([message(content=f"bees make honey {n}", metadata={"n": n}) for n in range(9)])
    asked = {"mode": mode, "top_k": 4, "context": 1, "explain": True, "importance_min": 0.1}
    by_url = speaker.answer("honey of bees", **asked)
    by_body = speaker.post(query="honey of bees", **asked)
    assert by_body.status_code == 200
    assert undated(by_body.json()) == undated(by_url)
    assert by_url["items"]


def test_a_long_query_is_one_of_a_body(speaker: Speaker) -> None:
    speaker.say("zeppelin")
    query = "word " * 3_998 + "zeppelin"
    assert len(query) == 19_998
    answer = speaker.post(query=query, mode="lexical")
    assert contents(answer.json()["items"]) == ["zeppelin"]


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_many_queries_are_answered_in_their_order(speaker: Speaker, mode: str) -> None:
    words = [f"subject{number}" for number in range(31)]
    speaker.say_all([message(content=f"{word} alone", conversation_id=word) for word in words])
    queries = [*reversed(words), words[3]]
    answer = speaker.post(queries=queries, mode=mode, top_k=1)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert set(answer.json()) == {"results"}
    assert [contents(each["items"]) for each in results] == [[f"{word} alone"] for word in queries]
    assert all(each["scope"] == {"tenant_id": speaker.tenant_id} for each in results)
    assert all(each["mode"] == mode for each in results)
    alone = speaker.post(queries=queries[:1], mode=mode).json()["results"]
    assert [len(each["items"]) for each in alone] == [1 if mode == "lexical" else 5]


def test_queries_of_100_000_characters_are_answered(speaker: Speaker) -> None:
    assert speaker.post(queries=["x" * 20_000] * 5, mode="lexical").status_code == 200


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "query"),
    ({"query": None}, "query"),
    ({"query": "x", "queries": ["x"]}, "query"),
    ({"queries": []}, "queries"),
    ({"queries": ["x"] * 33}, "queries"),
    ({"queries": ["x", ""]}, "queries"),
    ({"queries": ["x", None]}, "queries"),
    ({"queries": "x"}, "queries"),
    ({"queries": ["x\0"]}, "queries"),
    ({"queries": ["x" * 20_000] * 5 + ["x"]}, "queries"),
    ({"queries": ["x" * 20_001]}, "queries"),
    ({"query": "x" * 20_001}, "query"),
    ({"query": ""}, "query"),
    ({"query": 5}, "query"),
    ({"query": "\0"}, "query"),
    ({"query": "x", "tenant_id": "a,b"}, "tenant_id"),
    ({"query": "x", "tenant_id": None}, "tenant_id"),
    ({"query": "x", "unknown": 1}, "unknown"),
    ({"query": "x", "query_": 1}, "query_"),
    ({"query": "x", "top_k": "5"}, "top_k"),
    ({"query": "x", "top_k": 0}, "top_k"),
    ({"query": "x", "top_k": 101}, "top_k"),
    ({"query": "x", "top_k": 10**30}, "top_k"),
    ({"query": "x", "top_k": None}, "top_k"),
    ({"query": "x", "mode": "foo"}, "mode"),
    ({"query": "x", "context": 11}, "context"),
    ({"query": "x", "context": True}, "context"),
    ({"query": "x", "explain": 1}, "explain"),
    ({"query": "x", "rerank": "foo"}, "rerank"),
    ({"query": "x", "rerank": "cross_encoder"}, "rerank"),
    ({"query": "x", "role": "admin"}, "role"),
    ({"query": "x", "role": ["user", "admin"]}, "role"),
    ({"query": "x", "role": {}}, "role"),
    ({"query": "x", "importance_min": 1.5}, "importance_min"),
    ({"query": "x", "created_after": "yesterday"}, "created_after"),
    ({"query": "x", "created_after": "2024-05-01T10:00:00"}, "created_after"),
    ({"query": "x", "created_before": 0}, "created_before"),
    ({"query": "x", "conversation_id": "\n"}, "conversation_id"),
    ({"query": "x", "metadata": []}, "metadata"),
    ({"query": "x", "metadata": {"a": "\0"}}, "metadata"),
    ({"query": "x", "metadata": {"a": 2**64}}, "metadata"),
    ({"query": "x", "metadata": {"a": "x" * 20_000}}, "metadata"),
    ({"query": "x", "metadata": {"a": [[[[[[[[[1]]]]]]]]]}}, "metadata"),
    ({"query": "x", "include_archived": "true"}, "include_archived"),
    ({"query": "x", "half_life_days": 0}, "half_life_days"),
    ({"query": "x", "w_relevance": -1}, "w_relevance"),
    ({"query": "x", "w_relevance": 1e300}, "w_relevance"),
    ({"query": "x", "w_relevance": 0, "w_importance": 0, "w_recency": 0}, "w_relevance"),
    ({"query": "x", "mode": "semantic", "w_recency": 1}, "w_recency"),
]


@pytest.mark.parametrize(("body", "field"), BAD, ids=[repr(body)[:60] for body, _ in BAD])
def test_a_bad_field_is_named(shared: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = shared.post(PATH, json={"tenant_id": "acme", **body})
    assert_problem(answer, 400, "invalid-request", field)


def test_without_a_tenant_nothing_is_searched(shared: httpx.Client) -> None:
    answer = shared.post(PATH, json={"query": "x"})
    assert_problem(answer, 400, "invalid-request", "tenant_id")


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ('"query": "\\ud800"', ""),
        ('"metadata": {"\\ud800": 1}', ""),
        ('"metadata": {"a": 1e999}', None),
        ('"importance_min": NaN', ""),
        (f'"metadata": {"[" * DEEP}{"]" * DEEP}', None),
        (f'"metadata": {{"a": {"[" * DEEP}{"]" * DEEP}}}', None),
        (f'"metadata": {{"a": {"9" * 5_000}}}', None),
        (f'"top_k": {"9" * 5_000}', None),
        ('"tenant_id": "\ud800"', None),
    ],
    ids=["surrogate", "surrogate key", "inf", "nan", "deep", "deeper", "long", "top_k", "utf-8"],
)
def test_json_that_no_search_is(shared: httpx.Client, field: str, named: str | None) -> None:
    assert_problem(raw(shared, field), 400, "invalid-request", named)


@pytest.mark.parametrize("body", ["", "bees", "null", "[]", '"x"', "{", "{}x", "\xff", "[" * DEEP])
def test_what_is_no_json_object_is_a_400(shared: httpx.Client, body: str) -> None:
    answer = shared.post(PATH, content=body.encode("latin-1"), headers=JSON)
    assert_problem(answer, 400, "invalid-request")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_what_is_not_said_to_be_json_is_a_415(shared: httpx.Client, kind: str) -> None:
    body = json.dumps({"tenant_id": "acme", "query": "bees"}).encode()
    answer = shared.post(PATH, content=body, headers={"Content-Type": kind})
    assert_problem(answer, 415, "unsupported-media-type")


def test_a_body_of_more_than_a_megabyte_is_too_large(shared: httpx.Client) -> None:
    answer = shared.post(PATH, json={"tenant_id": "acme", "query": "x" * 2**20})
    assert_problem(answer, 413, "request-entity-too-large")
