"""Jobs as operators have them: looked up, listed, cancelled and tried again."""

from typing import Any

import httpx
import msgspec
import pytest
import redis
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

from memory.jobs import Job
from memory.settings import Settings
from tests.api.answers import assert_problem, moment
from tests.conftest import message, serving
from tests.db.rows import add_job
from tests.processes import wait_until
from tests.sends import sends_held

ROW = text("select * from jobs where id = cast(:id as uuid)")


def row(owner: Connection, job_id: str) -> dict[str, Any]:
    return dict(owner.execute(ROW, {"id": job_id}).mappings().one())


def listed(api: httpx.Client, **parameters: Any) -> list[str]:
    answer = api.get("/v1/jobs", params=parameters)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_a_job_is_answered_as_it_stands(api: httpx.Client, owner: Connection) -> None:
    job_id = add_job(owner, state="running", done=3, total=10, error="Timeout")
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert job.keys() == set(Job.__struct_fields__)
    assert job["id"] == job_id
    assert (job["kind"], job["tenant_id"], job["state"]) == ("embeddings_retry", "acme", "running")
    assert (job["done"], job["total"], job["error"]) == (3, 10, "Timeout")
    assert (job["arguments"], job["result"], job["started_by"]) == ({}, None, "test")
    assert moment(job["created_at"]) <= moment(job["updated_at"])


def test_a_job_about_all_tenants_has_none(api: httpx.Client, owner: Connection) -> None:
    job_id = add_job(owner, "*")
    assert api.get(f"/v1/jobs/{job_id}").json()["tenant_id"] is None


@pytest.mark.parametrize(
    ("method", "path"), [("get", ""), ("post", "/cancel"), ("post", "/retry"), ("get", "/events")]
)
def test_what_is_no_job_is_said_to_be_none(shared: httpx.Client, method: str, path: str) -> None:
    unknown = shared.request(method, f"/v1/jobs/{uuid7()}{path}")
    assert assert_problem(unknown, 404, "not-found")["detail"] == "No such job."
    for wrong in ("7", "%00", "..%5c"):
        answer = shared.request(method, f"/v1/jobs/{wrong}{path}")
        assert_problem(answer, 400, "invalid-request", "job_id")


def test_jobs_are_listed_page_by_page_the_newest_first(
    api: httpx.Client, owner: Connection
) -> None:
    made = [add_job(owner, tenant_id) for tenant_id in ("acme", "*", "globex", "acme", "acme")]
    pages: list[list[str]] = []
    before = None
    while not pages or before:
        parameters = {"limit": 2, **({"before": before} if before else {})}
        page = api.get("/v1/jobs", params=parameters).json()
        pages.append([item["id"] for item in page["items"]])
        before = page["next"]
    assert pages == [made[4:2:-1], made[2:0:-1], made[:1]]


def test_a_last_page_that_is_full_is_the_last(api: httpx.Client, owner: Connection) -> None:
    for _ in range(2):
        add_job(owner)
    assert api.get("/v1/jobs", params={"limit": 2}).json()["next"] is None


def test_a_list_keeps_to_what_is_asked_for(api: httpx.Client, owner: Connection) -> None:
    mine = add_job(owner, "acme")
    theirs = add_job(owner, "globex", state="failed")
    every = add_job(owner, "*", "rescore")
    assert listed(api) == [every, theirs, mine]
    assert listed(api, tenant_id="acme") == [mine]
    assert listed(api, tenant_id="*") == [every]
    assert listed(api, kind="rescore") == [every]
    assert listed(api, state="failed") == [theirs]
    assert listed(api, state="failed", tenant_id="acme") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", "a b"),
        ("tenant_id", ""),
        ("tenant_id", "*\n"),
        ("tenant_id", "**"),
        ("kind", "work"),
        ("state", "done"),
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "many"),
        ("before", "7"),
        ("before", ""),
    ],
)
def test_a_wrong_parameter_is_named(shared: httpx.Client, field: str, value: str) -> None:
    answer = shared.get("/v1/jobs", params={field: value})
    assert_problem(answer, 400, "invalid-request", field)


def test_a_cancelled_job_stays_cancelled(api: httpx.Client, owner: Connection) -> None:
    job_id = add_job(owner, state="running", done=3)
    for _ in range(2):
        answer = api.post(f"/v1/jobs/{job_id}/cancel")
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["done"]) == ("cancelled", 3)
        assert answer.json()["finished_at"]


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_what_has_ended_is_not_cancelled(api: httpx.Client, owner: Connection, state: str) -> None:
    job_id = add_job(owner, state=state)
    problem = assert_problem(api.post(f"/v1/jobs/{job_id}/cancel"), 409, "conflict")
    assert state in problem["detail"]
    assert row(owner, job_id)["state"] == state


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_failed_goes_on_at_once(
    settings: Settings, api: httpx.Client, owner: Connection, state: str
) -> None:
    job_id = add_job(owner, state=state, attempts=5, done=7, position='{"after": 7}', error="boom")
    answer = api.post(f"/v1/jobs/{job_id}/retry")
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["error"]) == ("queued", None)
    tried = row(owner, job_id)
    assert (tried["attempts"], tried["done"], tried["position"]) == (0, 7, {"after": 7})
    with redis.Redis.from_url(settings.redis_url) as broker:
        wait_until(lambda: broker.llen("maintenance"), "a worker is told")


@pytest.mark.parametrize("state", ["queued", "running", "completed"])
def test_what_has_not_failed_is_not_tried_again(
    api: httpx.Client, owner: Connection, state: str
) -> None:
    job_id = add_job(owner, state=state)
    assert_problem(api.post(f"/v1/jobs/{job_id}/retry"), 409, "conflict")
    assert row(owner, job_id)["state"] == state


def test_what_another_does_meanwhile_is_not_tried_again(
    api: httpx.Client, owner: Connection
) -> None:
    failed = add_job(owner, unique_key="one", state="failed")
    other = add_job(owner, unique_key="one")
    assert_problem(api.post(f"/v1/jobs/{failed}/retry"), 409, "conflict")
    assert api.post(f"/v1/jobs/{other}/cancel").status_code == 200
    assert api.post(f"/v1/jobs/{failed}/retry").status_code == 202


def test_a_silent_broker_slows_nobody_who_starts_a_job(
    settings: Settings, owner: Connection, black_hole: int
) -> None:
    silent = msgspec.structs.replace(settings, redis_url=f"redis://127.0.0.1:{black_hole}/0")
    jobs = [add_job(owner, state="failed") for _ in range(40)]
    with serving(silent) as api, sends_held("send_job") as begun:
        for job_id in jobs:
            assert api.post(f"/v1/jobs/{job_id}/retry").status_code == 202
        wait_until(begun.is_set, "the broker is told, and says nothing")
        # Nor are all threads with the broker.
        assert api.post("/v1/messages", json=message(content="word " * 2_000)).status_code == 202
    assert {row(owner, job_id)["state"] for job_id in jobs} == {"queued"}
