"""The settings of tenants: read, set, forgotten, and those of one tenant only."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text

from memory.settings import IMPORTANCE_WEIGHTS
from tests.api.answers import JSON, assert_problem
from tests.api.speaking import Speaker

PATH = "/v1/admin/tenants/{}/settings"
NOTHING = {
    "language": None,
    "w_relevance": None,
    "w_importance": None,
    "w_recency": None,
    "half_life_days": None,
    "importance_w_role": None,
    "importance_w_content": None,
    "importance_w_recency": None,
    "importance_w_use": None,
    "importance_half_life_days": None,
}
DEPLOYMENT = {
    "language": "english",
    "w_relevance": 0.93,
    "w_importance": 0.05,
    "w_recency": 0.02,
    "half_life_days": 30.0,
    "importance_w_role": 0.2,
    "importance_w_content": 0.4,
    "importance_w_recency": 0.25,
    "importance_w_use": 0.15,
    "importance_half_life_days": 30.0,
}
ALL = {
    "language": "german",
    "w_relevance": 1.5,
    "w_importance": 0.0,
    "w_recency": 1000.0,
    "half_life_days": 0.5,
    "importance_w_role": 0.0,
    "importance_w_content": 1000.0,
    "importance_w_recency": 0.25,
    "importance_w_use": 2.0,
    "importance_half_life_days": 365.0,
}
JOBS = text("select tenant_id, finished_to::text as reached from term_reindexing")


def read(api: httpx.Client, tenant_id: str = "acme") -> dict[str, Any]:
    answer = api.get(PATH.format(tenant_id))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put(api: httpx.Client, body: dict[str, Any], tenant_id: str = "acme") -> dict[str, Any]:
    answer = api.put(PATH.format(tenant_id), json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_tenant_that_has_set_nothing_has_the_deployments(api: httpx.Client) -> None:
    assert read(api) == {"tenant_id": "acme", "own": NOTHING, "effective": DEPLOYMENT}


def test_what_is_set_holds_and_is_read_again(api: httpx.Client) -> None:
    assert put(api, ALL) == {"tenant_id": "acme", "own": ALL, "effective": ALL}
    assert read(api) == put(api, ALL)


def test_what_the_body_leaves_out_is_the_deployments_again(api: httpx.Client) -> None:
    put(api, ALL)
    answer = put(api, {"w_recency": 3, "language": None})
    assert answer["own"] == {**NOTHING, "w_recency": 3}
    assert answer["effective"] == {**DEPLOYMENT, "w_recency": 3}
    assert put(api, {})["own"] == NOTHING


def test_what_is_deleted_is_the_deployments_again(api: httpx.Client, owner: Connection) -> None:
    put(api, ALL)
    for _ in range(2):
        answer = api.delete(PATH.format("acme"))
        assert answer.status_code == 200
        assert answer.json() == {"tenant_id": "acme", "own": NOTHING, "effective": DEPLOYMENT}
    assert read(api)["own"] == NOTHING
    assert owner.scalar(text("select count(*) from tenant_settings")) == 0


def test_each_tenant_has_its_own(api: httpx.Client) -> None:
    put(api, ALL)
    put(api, {"w_recency": 7}, "globex")
    assert read(api)["own"] == ALL
    assert read(api, "globex")["own"] == {**NOTHING, "w_recency": 7}
    assert read(api, "initech")["own"] == NOTHING
    api.delete(PATH.format("globex"))
    assert read(api)["own"] == ALL


def test_only_another_language_has_messages_indexed_anew(
    api: httpx.Client, owner: Connection
) -> None:
    put(api, {"w_recency": 1})
    put(api, {"language": "english"})
    assert owner.execute(JOBS).all() == []
    put(api, {"language": "german"})
    nothing_done = ("acme", "00000000-0000-0000-0000-000000000000")
    assert owner.execute(JOBS).all() == [nothing_done]
    # A change while an earlier one is at work begins it anew.
    owner.execute(text("update term_reindexing set finished_to = gen_random_uuid()"))
    put(api, {"language": "german", "w_recency": 1})
    assert owner.execute(JOBS).all() != [nothing_done]
    api.delete(PATH.format("acme"))
    assert owner.execute(JOBS).all() == [nothing_done]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"language": "klingon"}, "language"),
        ({"language": "English"}, "language"),
        ({"language": ""}, "language"),
        ({"language": 1}, "language"),
        ({"w_relevance": -0.1}, "w_relevance"),
        ({"w_importance": 1000.1}, "w_importance"),
        ({"w_recency": "1"}, "w_recency"),
        ({"w_recency": True}, "w_recency"),
        ({"half_life_days": 0}, "half_life_days"),
        ({"half_life_days": 100_001}, "half_life_days"),
        ({"half_life_days": []}, "half_life_days"),
        ({"tenant_id": "acme"}, "tenant_id"),
        ({"retention": 1}, "retention"),
        ({"w_relevance": 0, "w_importance": 0, "w_recency": 0}, "w_relevance"),
        ({"importance_w_use": -1}, "importance_w_use"),
        ({"importance_half_life_days": 0}, "importance_half_life_days"),
        (dict.fromkeys(IMPORTANCE_WEIGHTS, 0), "importance_w_role"),
    ],
)
def test_a_bad_field_is_named_and_changes_nothing(
    api: httpx.Client, body: dict[str, Any], field: str
) -> None:
    put(api, {"w_recency": 2})
    answer = api.put(PATH.format("acme"), json=body)
    assert_problem(answer, 400, "invalid-request", field)
    assert read(api)["own"] == {**NOTHING, "w_recency": 2}


@pytest.mark.parametrize("body", ["", "x", "null", "[]", "{", '{"w_recency": NaN}', "[" * 100_000])
def test_what_is_no_json_object_is_a_400(api: httpx.Client, body: str) -> None:
    answer = api.put(PATH.format("acme"), content=body, headers=JSON)
    assert_problem(answer, 400, "invalid-request")


def test_what_is_not_said_to_be_json_is_a_415(api: httpx.Client) -> None:
    answer = api.put(PATH.format("acme"), content="{}", headers={"Content-Type": "text/plain"})
    assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("tenant_id", ["a,b", "%00", "%ff", "x" * 65, "a%20b", "%2A", "a%0A"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_is_no_tenant_is_a_400(shared: httpx.Client, method: str, tenant_id: str) -> None:
    body = {"json": {}} if method == "PUT" else {}
    answer = shared.request(method, PATH.format(tenant_id), **body)
    assert_problem(answer, 400, "invalid-request", "tenant_id")


def test_one_weight_that_is_left_is_enough(shared: httpx.Client) -> None:
    speaker = Speaker(shared)
    put(shared, {"w_relevance": 0, "w_importance": 0}, speaker.tenant_id)
    speaker.say("bees")
    (hit,) = speaker.finds("bees")
    assert hit["score"] == pytest.approx(hit["recency"])
