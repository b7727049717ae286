"""What a tenant's retention policy is, by whom it is set, and what is refused."""

from typing import Any

import httpx
import msgspec
import pytest

from memory.settings import Settings
from tests.conftest import serving

PATH = "/v1/admin/tenants/acme/policy"
DEPLOYMENT = {
    "max_age_days": 30,
    "importance_threshold": 0.35,
    "delete_after_days": 90,
    "max_messages": None,
    "exempt_roles": [],
    "age_from": "ingested",
    "legal_hold": False,
}


def test_without_a_policy_the_deployments_holds(shared: httpx.Client) -> None:
    answer = shared.get("/v1/admin/tenants/nobody/policy").json()
    assert answer["effective"] == DEPLOYMENT
    assert set(answer["own"].values()) == {None}


def test_the_settings_are_the_deployments_policy(inline_settings: Settings) -> None:
    changed = msgspec.structs.replace(
        inline_settings,
        retention_max_age_days=7,
        retention_max_messages=500,
        retention_exempt_roles="tool, system",
        retention_age_from="created",
        retention_legal_hold=True,
    )
    with serving(changed) as api:
        assert api.get(PATH).json()["effective"] == {
            **DEPLOYMENT,
            "max_age_days": 7,
            "max_messages": 500,
            "exempt_roles": ["tool", "system"],
            "age_from": "created",
            "legal_hold": True,
        }


def test_a_policy_is_set_whole_and_forgotten(inline: httpx.Client) -> None:
    put = inline.put(PATH, json={"max_age_days": 10, "exempt_roles": ["user"]})
    assert put.status_code == 200
    assert put.json() == inline.get(PATH).json()
    assert put.json()["effective"] == {
        **DEPLOYMENT,
        "max_age_days": 10,
        "exempt_roles": ["user"],
    }
    again = inline.put(PATH, json={"legal_hold": True, "max_messages": 5}).json()
    assert again["effective"] == {**DEPLOYMENT, "legal_hold": True, "max_messages": 5}
    assert inline.delete(PATH).json()["effective"] == DEPLOYMENT
    assert inline.get(PATH).json()["effective"] == DEPLOYMENT


def test_each_change_is_on_record(inline: httpx.Client) -> None:
    headers = {"X-Request-ID": "policy-change-1"}
    inline.put(PATH, json={"max_age_days": 10}, headers=headers)
    inline.delete(PATH)
    audit = inline.get("/v1/admin/audit", params={"tenant_id": "acme", "action": "policy"}).json()
    deleted, put = audit["items"]
    assert deleted["details"] == {"policy": None}
    assert put["details"]["policy"]["max_age_days"] == 10
    assert (put["request_id"], put["actor"], put["result"]) == ("policy-change-1", "local", "done")
    assert audit["next"] is None


def test_the_audit_log_comes_in_pages(inline: httpx.Client) -> None:
    for days in range(1, 6):
        inline.put(PATH, json={"max_age_days": days})
    seen: list[int] = []
    asked: dict[str, Any] = {"limit": 2}
    while True:
        page = inline.get("/v1/admin/audit", params=asked).json()
        seen += [item["details"]["policy"]["max_age_days"] for item in page["items"]]
        if page["next"] is None:
            break
        asked["before"] = page["next"]
    assert seen == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_age_days": 0}, "max_age_days"),
        ({"max_age_days": 1.5}, "max_age_days"),
        ({"max_age_days": 10**9}, "max_age_days"),
        ({"importance_threshold": 1.1}, "importance_threshold"),
        ({"delete_after_days": 0}, "delete_after_days"),
        ({"max_messages": 0}, "max_messages"),
        ({"max_messages": 2**63}, "max_messages"),
        ({"exempt_roles": ["nobody"]}, "exempt_roles"),
        ({"age_from": "birth"}, "age_from"),
        ({"legal_hold": "yes"}, "legal_hold"),
        ({"max_age": 5}, "max_age"),
    ],
)
def test_a_wrong_policy_is_refused(shared: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = shared.put(PATH, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_a_wrong_tenant_is_refused(shared: httpx.Client) -> None:
    for call in (shared.get, shared.delete):
        answer = call("/v1/admin/tenants/a b/policy")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "tenant_id"
