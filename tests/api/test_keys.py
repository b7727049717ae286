"""The life of a key: made, shown once, listed, replaced, revoked."""

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Connection

from memory.settings import Settings
from tests.api.answers import JSON, assert_problem, moment
from tests.api.issuing import (
    EVERYTHING,
    KEYS,
    OPERATOR,
    closed,
    everything_in,
    in_seconds,
    issue,
    listed,
    records,
    revoke,
    rotate,
    sent,
)
from tests.conftest import message, serving

ODD_LABELS = ["[/x] [red]", "'; drop table api_keys; --", "日本 \u2028 🗝", "\u0085", " ", "x" * 128]
# After every id of a key.
LATER = "f" * 32


def test_a_key_is_what_was_asked_for(guarded: httpx.Client) -> None:
    ends = in_seconds(3600)
    made = issue(
        guarded,
        *("b", "a", "b"),
        scopes=["write", "read", "read"],
        label="checkout",
        rate_limit="10/second",
        expires_at=ends,
    )
    assert made["key"].startswith("aiml_")
    assert len(made["key"]) == 48
    digest = hashlib.sha256(made["key"].encode()).hexdigest()
    assert made["name"] == f"key {digest[:8]}"
    assert (made["tenants"], made["scopes"]) == (["a", "b"], ["read", "write"])
    assert (made["label"], made["rate_limit"], made["state"]) == ("checkout", "10/second", "live")
    assert moment(made["expires_at"]) == datetime.fromisoformat(ends)
    operator = hashlib.sha256(OPERATOR["x-api-key"].encode()).hexdigest()
    assert made["created_by"] == f"key {operator[:8]}"
    assert [made[name] for name in ("revoked_at", "replaced_by", "last_used_at")] == [None] * 3
    assert guarded.post("/v1/messages", json=message(tenant_id="a"), headers=sent(made)).is_success
    (record,) = records(guarded, "create_key", made)
    assert (record["actor"], record["result"]) == (made["created_by"], "done")
    assert record["details"]["tenants"] == ["a", "b"]


def test_a_key_reads_and_writes_unless_it_is_said_otherwise(guarded: httpx.Client) -> None:
    answer = guarded.post(KEYS, json={"tenants": ["*"]}, headers=OPERATOR)
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert (made["tenants"], made["scopes"]) == (["*"], ["read", "write"])
    assert (made["label"], made["rate_limit"], made["expires_at"]) == ("", None, None)
    assert_problem(guarded.get(KEYS, headers=sent(made)), 403, "forbidden")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("tenants", value) for value in ([], [""], ["*", "a"], ["a b"], ["a\n"], ["x" * 65])),
        *(("tenants", value) for value in ("a", None, [None], [f"t{n}" for n in range(1001)])),
        *(("scopes", value) for value in ([], ["root"], ["READ"], ["read"] * 4, "read", None)),
        *(("label", value) for value in ("x" * 129, "a\nb", "a\0b", "\x7f", "a\n", None, 1)),
        *(("rate_limit", value) for value in ("fast", "0/second", "1/fortnight", "1/s;", 5)),
        ("rate_limit", "1/second;" * 20),
        *(("expires_at", value) for value in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00")),
        *(("expires_at", value) for value in ("0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00Z")),
        *(("expires_at", value) for value in ("2099-01-01T00:00:00", "tomorrow", "", 4102444800)),
        ("name", "x"),
        ("key", "aiml_" + "A" * 43),
    ],
)
def test_a_key_that_cannot_be(guarded: httpx.Client, field: str, value: Any) -> None:
    body = {"tenants": ["acme"], field: value}
    assert_problem(guarded.post(KEYS, json=body, headers=OPERATOR), 400, "invalid-request", field)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"tenants": ["a"]', b'{"tenants"}', b"\xff"]
)
def test_a_body_that_is_no_key(guarded: httpx.Client, body: bytes) -> None:
    answer = guarded.post(KEYS, content=body, headers={**OPERATOR, **JSON})
    assert_problem(answer, 400, "invalid-request")
    assert_problem(
        guarded.post(KEYS, content=body, headers=OPERATOR), 415, "unsupported-media-type"
    )


@pytest.mark.parametrize("label", ODD_LABELS)
def test_a_label_is_kept_to_the_letter(guarded: httpx.Client, label: str) -> None:
    made = issue(guarded, label=label)
    assert made["label"] == label
    (found,) = (key for key in listed(guarded) if key["id"] == made["id"])
    assert found["label"] == label


def test_as_far_as_the_bounds(guarded: httpx.Client) -> None:
    made = issue(
        guarded,
        *(f"{n:064}" for n in range(1000)),
        rate_limit="",
        expires_at=in_seconds(99 * 365 * 86_400),
    )
    assert len(made["tenants"]) == 1000
    assert made["rate_limit"] == ""
    away = datetime.now(UTC) + timedelta(hours=1)
    written = away.astimezone().replace(microsecond=0)
    zoned = issue(guarded, expires_at=written.isoformat())
    assert moment(zoned["expires_at"]) == written


def test_what_is_sent_is_shown_once_and_kept_nowhere(
    settings: Settings, owner: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(closed(settings)) as api:
        made = issue(api, "*", scopes=["read", "write", "admin"])
        after = rotate(api, made).json()
        shown = [
            api.get(path, headers=sent(after)).text
            for path in (KEYS, f"{KEYS}?ended=true", "/v1/admin/audit", "/metrics")
        ]
        shown.append(revoke(api, made).text)
        stored = everything_in(owner)
    assert hashlib.sha256(made["key"].encode()).hexdigest() in stored
    for key in (made["key"], after["key"]):
        for text in (*shown, stored, caplog.text):
            assert key.removeprefix("aiml_") not in text
    assert f'"id":"{made["id"]}"' in shown[0]


def test_pages_and_filters(guarded: httpx.Client) -> None:
    tenant, other = uuid4().hex, uuid4().hex
    everywhere = issue(guarded, "*")
    both, one, ended = issue(guarded, tenant, other), issue(guarded, tenant), issue(guarded, tenant)
    elsewhere = issue(guarded, other)
    revoke(guarded, ended)

    def found(**parameters: Any) -> list[str]:
        """Those of this test, the newest first."""
        ours = {each["id"]: each for each in (everywhere, both, one, ended, elsewhere)}
        return [key["id"] for key in listed(guarded, **parameters) if key["id"] in ours]

    assert found(tenant_id=tenant) == [one["id"], both["id"], everywhere["id"]]
    assert found(tenant_id=tenant, ended=True)[0] == ended["id"]
    assert found(tenant_id="*") == [everywhere["id"]]
    assert elsewhere["id"] in found()
    assert ended["id"] not in found()
    seen: list[str] = []
    before: str | None = None
    for _ in range(2):
        asked: dict[str, Any] = {"tenant_id": other, "limit": 1, "before": before or LATER}
        page = guarded.get(KEYS, params=asked, headers=OPERATOR).json()
        seen += [key["id"] for key in page["items"]]
        before = page["next"]
    assert seen == [elsewhere["id"], both["id"]]
    last = guarded.get(KEYS, params={"before": "0" * 32}, headers=OPERATOR).json()
    assert last == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("name", "value"),
    [("tenant_id", "a b"), ("limit", 0), ("limit", 201), ("before", "x"), ("ended", "perhaps")],
)
def test_a_list_that_cannot_be(guarded: httpx.Client, name: str, value: Any) -> None:
    answer = guarded.get(KEYS, params={name: value}, headers=OPERATOR)
    assert_problem(answer, 400, "invalid-request", name)


def test_nobody_hands_out_a_scope_that_the_own_key_lacks(guarded: httpx.Client) -> None:
    admin = sent(issue(guarded, "*", scopes=["admin"]))
    reader = issue(guarded, scopes=["read"])
    for body in (EVERYTHING, {"tenants": ["acme"]}):
        refused = guarded.post(KEYS, json=body, headers=admin)
        assert "scope read" in assert_problem(refused, 403, "forbidden")["detail"]
    path = f"{KEYS}/{reader['id']}/rotate"
    assert_problem(guarded.post(path, json={}, headers=admin), 403, "forbidden")
    # Nothing of it was done.
    assert [
        key["replaced_by"] for key in listed(guarded, limit=200) if key["id"] == reader["id"]
    ] == [None]
    same = guarded.post(KEYS, json={"tenants": ["a"], "scopes": ["admin"]}, headers=admin)
    assert same.status_code == 201
