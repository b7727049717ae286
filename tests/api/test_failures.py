"""Records of what was refused: once for each kind, with how often, and without a key."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from api.failures import MOST_KINDS
from memory.keys import digest_of, name_of
from memory.settings import Settings
from tests.api.issuing import KEYS, OPERATOR, closed, everything_in, issue, revoke, rotate, sent
from tests.conftest import message, serving
from tests.processes import wait_until

REFUSED = text("""
select tenant_id, actor, action, result, details ->> 'address' as address,
  cast(details ->> 'times' as int) as times, request_id
from audit_log where result <> 'done' order by id
""")
ADDRESS = "127.0.0.1"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are recorded ten times a second, and nobody waits for an answer."""
    monkeypatch.setattr("api.failures.INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr("api.entrance.FIRST_WAIT_SECONDS", 0.0)


def named(key: str) -> str:
    """What stands for a key in a record."""
    return name_of(digest_of(key))


def refused(owner: Connection) -> list[tuple[Any, ...]]:
    """The records of what was refused, without the addresses and the ids."""
    rows = owner.execute(REFUSED).all()
    assert {row.address for row in rows} <= {ADDRESS}
    return [(row.tenant_id, row.actor, row.action, row.result, row.times) for row in rows]


def test_each_kind_is_recorded_once(settings: Settings, owner: Connection) -> None:
    with serving(closed(settings, auth_failure_limit="3/hour")) as api:
        revoked, expired, bound = issue(api), issue(api), issue(api, scopes=["read"])
        revoke(api, revoked)
        rotate(api, expired, grace_seconds=0)
        wrong = {"x-api-key": "wrong"}
        for headers in (wrong, wrong, {}, sent(revoked), sent(expired)):
            assert api.get("/v1/jobs", headers=headers).status_code == 401
        reading = sent(bound)
        assert api.post("/v1/messages", json=message(), headers=reading).status_code == 403
        foreign = {"tenant_id": "globex"}
        assert api.get("/v1/messages", params=foreign, headers=reading).status_code == 403
        assert api.get(KEYS, headers=reading).status_code == 403
        # What is refused to nobody in particular, and an admin's action that comes to nothing.
        assert api.get("/v1/messages", headers=OPERATOR).status_code == 400
        assert api.post(KEYS, json={"tenants": []}, headers=OPERATOR).status_code == 400
        assert api.delete(f"{KEYS}/x", headers=OPERATOR).status_code == 400
        assert api.get("/nowhere", headers=OPERATOR).status_code == 404
        # The third wrong one, for a key that has ended is none: then it is blocked.
        assert api.get("/v1/jobs", headers=wrong).status_code == 401
        for _ in range(2):
            assert api.get("/v1/jobs", headers=wrong).status_code == 429
        assert refused(owner) == []
    operator = named(OPERATOR["x-api-key"])
    assert sorted(refused(owner)) == sorted(
        [
            ("*", named("wrong"), "use_key", "401", 3),
            ("*", named("wrong"), "use_key", "429", 2),
            ("*", "nobody", "use_key", "401", 1),
            ("*", revoked["name"], "use_key", "401", 1),
            ("*", expired["name"], "use_key", "401", 1),
            ("*", bound["name"], "POST /v1/messages", "403", 1),
            ("*", bound["name"], "GET /v1/messages", "403", 1),
            ("*", bound["name"], "GET /v1/admin/keys", "403", 1),
            ("*", operator, "POST /v1/admin/keys", "400", 1),
            ("*", operator, "DELETE /v1/admin/keys/{key_id}", "400", 1),
        ]
    )


def test_a_record_leads_to_the_log(settings: Settings, owner: Connection, quick: None) -> None:
    with serving(closed(settings)) as api:
        api.get("/v1/jobs", headers={"x-api-key": "wrong", "X-Request-ID": "there-1"})
        wait_until(lambda: refused(owner), "it is recorded while the service runs")
        (row,) = owner.execute(REFUSED)
        assert row.request_id == "there-1"
        shown = api.get("/v1/admin/audit", params={"action": "use_key"}, headers=OPERATOR).json()
        (record,) = shown["items"]
        assert (record["actor"], record["result"]) == (named("wrong"), "401")
        assert record["details"] == {"address": ADDRESS, "times": 1}
        assert record["tenant_id"] is None


def test_a_tenant_of_a_key_sees_its_own_alone(
    settings: Settings, owner: Connection, quick: None
) -> None:
    with serving(closed(settings)) as api:
        admin = issue(api, "acme", scopes=["admin"])
        path = "/v1/admin/tenants/acme/settings"
        assert api.put(path, json={"w_recency": -1}, headers=sent(admin)).status_code == 400
        assert api.put(path.replace("acme", "globex"), json={}, headers=sent(admin)).is_error
        wait_until(lambda: len(refused(owner)) == 2, "both are recorded")
        shown = api.get("/v1/admin/audit", headers=sent(admin)).json()["items"]
        assert {record["tenant_id"] for record in shown} <= {"acme"}


def test_however_many_kinds_there_are_few_records(settings: Settings, owner: Connection) -> None:
    with serving(closed(settings)) as api:
        for number in range(MOST_KINDS + 30):
            assert api.get("/v1/jobs", headers={"x-api-key": f"wrong-{number}"}).is_error
        # Of those that are known it is still seen how often they come.
        assert api.get("/v1/jobs", headers={"x-api-key": "wrong-0"}).is_error
    rows = owner.execute(REFUSED).all()
    assert len(rows) == MOST_KINDS + 1
    assert sum(row.times for row in rows) == MOST_KINDS + 31
    others = [row for row in rows if row.action == "others"]
    assert [(row.actor, row.times, row.address) for row in others] == [("nobody", 30, "")]
    assert [row.times for row in rows if row.actor == named("wrong-0")] == [2]


def test_what_the_database_did_not_take_is_recorded_later(
    settings: Settings, owner: Connection, quick: None
) -> None:
    sent_in_all = 0

    def send(api: httpx.Client, name: str) -> None:
        nonlocal sent_in_all
        for number in range(MOST_KINDS):
            sent_in_all += 1
            assert api.get("/v1/jobs", headers={"x-api-key": f"{name}-{number}"}).is_error

    with serving(closed(settings)) as api, capture_logs() as logged:

        def missed() -> bool:
            return any(line["event"] == "failures_not_recorded" for line in logged)

        owner.execute(text("alter table audit_log rename column details to gone"))
        for name in "abc":
            logged.clear()
            send(api, name)
            wait_until(missed, "it was tried")
        owner.execute(text("alter table audit_log rename column gone to details"))
    rows = owner.execute(REFUSED).all()
    assert sum(row.times for row in rows) == sent_in_all
    # However long it was away.
    assert len(rows) <= MOST_KINDS + 1


def test_no_record_holds_a_key(settings: Settings, owner: Connection) -> None:
    secrets = ["hunter2hunter2", "aiml_" + "B" * 43]
    with serving(closed(settings)) as api:
        for key in secrets:
            for headers in ({"x-api-key": key}, {"Authorization": f"Bearer {key}"}):
                assert api.get("/v1/jobs", headers=headers).status_code == 401
        bound = issue(api)
        assert api.get(KEYS, headers=sent(bound)).status_code == 403
    stored = everything_in(owner)
    for key in (*secrets, bound["key"], OPERATOR["x-api-key"]):
        assert key not in stored
    assert named(secrets[0]) in stored
