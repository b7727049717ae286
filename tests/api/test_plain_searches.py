"""Plain searches go past the framework; what is odd, or wrong, does not."""

from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from api.plain_searches import plain_search
from memory.access import Caller
from memory.search import SearchRequest
from tests.api.speaking import Speaker

READER = Caller(name="reader", scopes=frozenset({"read"}))


def asked(query: str, caller: Caller | None = READER, **changed: Any) -> SearchRequest | None:
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/v1/memory/search",
        "query_string": query.encode(),
        "caller": caller,
        **changed,
    }
    return plain_search(scope)


def test_a_plain_one_is_as_the_framework_would_have_it() -> None:
    assert asked("tenant_id=acme&query=b%C3%A9es+and+honey") == SearchRequest(
        tenant_id="acme", query="b\u00e9es and honey"
    )
    everything = "mode=lexical&context=2&explain=true&top_k=7&conversation_id=c"
    assert asked(f"query=bees&tenant_id=acme&{everything}") == SearchRequest(
        tenant_id="acme",
        query="bees",
        mode="lexical",
        context=2,
        explain=True,
        top_k=7,
        conversation_id="c",
    )


@pytest.mark.parametrize(
    "more",
    [
        "top_k=0",
        "top_k=101",
        "top_k=",
        "top_k=%D9%A3",
        "top_k=1.0",
        "top_k=-1",
        "context=11",
        "explain=1",
        "mode=best",
        "role=user",
        "metadata.a=1",
        "w_recency=0",
        "colour=red",
        "query=honey",
        "conversation_id=",
        "mode=hybrid&mode=lexical",
    ],
)
def test_what_is_odd_is_the_frameworks(more: str) -> None:
    assert asked("tenant_id=acme&query=bees") is not None
    assert asked(f"tenant_id=acme&query=bees&{more}") is None


@pytest.mark.parametrize(
    "query",
    [
        "",
        "tenant_id=acme",
        "query=bees",
        "tenant_id=acme&query=",
        "tenant_id=acme&query=%FF",
        "tenant_id=acme&query=a%00b",
        "tenant_id=a/b&query=bees",
        "tenant_id=acme&query=" + 5_001 * "b",
    ],
)
def test_what_is_wrong_is_the_frameworks(query: str) -> None:
    assert asked(query) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "POST"},
        {"path": "/v1/memory/search/"},
        {"caller": None},
        {"caller": Caller(name="writer", scopes=frozenset({"write"}))},
    ],
    ids=str,
)
def test_another_request_is_the_frameworks(changed: dict[str, Any]) -> None:
    assert asked("tenant_id=acme&query=bees", **changed) is None


def test_both_ways_give_the_same(api: httpx.Client) -> None:
    acme = Speaker(api, "acme")
    acme.say("bees")
    plain = {"tenant_id": "acme", "query": "bees"}
    shown = [
        api.get(f"/v1/memory/search?{urlencode(asked)}")
        for asked in (plain, {**plain, "explain": "false"}, {**plain, "explain": "0"})
    ]
    names = [sorted(each.headers) for each in shown]
    assert names[0] == names[2]
    assert [each.headers["content-type"] for each in shown] == ["application/json"] * 3
    assert shown[1].json()["items"] == shown[2].json()["items"] != []
