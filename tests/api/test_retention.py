"""Retention runs by hand: small ones within the request, large ones as jobs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.settings import Settings
from tests.api.speaking import Speaker
from tests.conftest import serving
from tests.processes import wait_until
from tests.tasks.ageing import archived, grow_old, live, matter

PATH = "/v1/admin/retention/run"


def run(api: httpx.Client, **body: Any) -> httpx.Response:
    return api.post(PATH, json=body)


@pytest.fixture
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of more than ten messages is a large one."""
    monkeypatch.setattr("api.retention.SMALL_RUN", 10)


def store(api: httpx.Client, owner: Connection, tenant_id: str, messages: int) -> None:
    """So many messages of a tenant that are due to be archived."""
    speaker = Speaker(api, tenant_id)
    body = {"conversation_id": "c", "role": "user"}
    ids = speaker.say_all([{**body, "content": f"note {n}"} for n in range(messages)])
    matter(owner, 0.1, ids)
    grow_old(owner, 31, ids)


def test_a_small_run_is_done_within_the_request(api: httpx.Client, owner: Connection) -> None:
    store(api, owner, "acme", 3)
    store(api, owner, "globex", 2)
    answer = run(api, tenant_id="acme")
    assert answer.status_code == 200, answer.text
    job_id = answer.json().pop("job_id")
    expected = {"archived": 3, "deleted": 0, "dry_run": False, "tenants": 1, "job_id": job_id}
    assert answer.json() == expected
    assert len(live(owner)) == 2
    assert run(api).json()["archived"] == 2
    assert run(api).json()["archived"] == 0


def test_a_dry_run_touches_nothing_and_lists_what_it_would(
    api: httpx.Client, owner: Connection
) -> None:
    store(api, owner, "acme", 5)
    run(api)
    grow_old(owner, 91)
    store(api, owner, "acme", 7)
    kept = Speaker(api, "acme").say("kept", importance_override=0.9)
    Speaker(api, "acme").say("beyond the limit", importance_override=0.8)
    api.put("/v1/admin/tenants/acme/policy", json={"max_messages": 1})
    before = live(owner), archived(owner)
    seen: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"tenant_id": "acme", "dry_run": True, "list": True, "limit": 4}
    while True:
        answer = run(api, **asked)
        assert answer.status_code == 200, answer.text
        seen += answer.json()["items"]
        if answer.json()["next"] is None:
            break
        asked["after"] = answer.json()["next"]
    assert (live(owner), archived(owner)) == before
    counts = {"archived": 8, "deleted": 5, "dry_run": True}
    assert {name: answer.json()[name] for name in counts} == counts
    reasons = [item["reason"] for item in seen]
    assert reasons == ["aged"] * 7 + ["over_max_messages"] + ["archived_long"] * 5
    assert len({item["message_id"] for item in seen}) == 13
    assert kept not in {item["message_id"] for item in seen}
    real = run(api, tenant_id="acme").json()
    assert (real["archived"], real["deleted"]) == (8, 5)
    assert live(owner) == ["kept"]


def test_a_hold_keeps_a_dry_run_from_listing(api: httpx.Client, owner: Connection) -> None:
    store(api, owner, "acme", 5)
    api.put("/v1/admin/tenants/acme/policy", json={"legal_hold": True})
    answer = run(api, tenant_id="acme", dry_run=True, list=True).json()
    assert (answer["archived"], answer["items"], answer["next"]) == (0, [], None)


@pytest.mark.usefixtures("small_runs")
def test_a_large_run_is_a_job(
    api: httpx.Client, owner: Connection, worker: CeleryTestWorker
) -> None:
    store(api, owner, "acme", 30)
    answer = run(api, tenant_id="acme")
    assert answer.status_code == 202, answer.text
    where = answer.headers["Location"]
    assert answer.json()["kind"] == "retention"
    wait_until(lambda: api.get(where).json()["state"] == "completed", "the run has ended")
    assert api.get(where).json()["result"]["archived"] == 30
    assert len(archived(owner)) == 30


@pytest.mark.usefixtures("small_runs")
def test_the_caller_can_wait_for_a_large_run(
    api: httpx.Client, owner: Connection, worker: CeleryTestWorker
) -> None:
    store(api, owner, "acme", 30)
    answer = run(api, tenant_id="acme", wait=True)
    assert answer.status_code == 200, answer.text
    assert answer.json()["archived"] == 30


def test_the_caller_need_not_wait_for_a_small_one(api: httpx.Client, owner: Connection) -> None:
    store(api, owner, "acme", 1)
    answer = run(api, tenant_id="acme", wait=False)
    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"
    assert archived(owner) == []


@pytest.mark.usefixtures("small_runs")
def test_without_a_worker_who_waits_is_answered_in_time(
    settings: Settings, owner: Connection
) -> None:
    with serving(msgspec.structs.replace(settings, request_timeout_seconds=1.5)) as api:
        store(api, owner, "acme", 30)
        answer = run(api, tenant_id="acme", wait=True)
        assert answer.status_code == 202, answer.text


def test_files_of_what_is_deleted_are_the_workers_to_write(
    settings: Settings, owner: Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "of-the-api"
    changed = msgspec.structs.replace(
        settings, archive_dir=str(folder), request_timeout_seconds=1.5
    )
    with serving(changed) as api:
        store(api, owner, "acme", 2)
        assert run(api, actions=["archive"]).status_code == 200
        grow_old(owner, 91)
        assert run(api, dry_run=True).json()["deleted"] == 2
        assert run(api).status_code == 202
        assert not folder.exists()


def test_two_runs_at_once_do_no_harm(
    api: httpx.Client, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.expiring.SLICE_MESSAGES", 3)
    store(api, owner, "acme", 40)
    api.put("/v1/admin/tenants/acme/policy", json={"max_messages": 5, "max_age_days": 1000})
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: run(api, tenant_id="acme").json(), range(4)))
    assert sum(answer["archived"] for answer in answers) == 35
    assert len(live(owner)) == 5


def test_health_shows_the_last_run_that_was_no_dry_one(
    api: httpx.Client, owner: Connection
) -> None:
    assert api.get("/v1/admin/health").json()["last_retention_run"] is None
    run(api, dry_run=True)
    assert api.get("/v1/admin/health").json()["last_retention_run"] is None
    run(api)
    shown = api.get("/v1/admin/health").json()["last_retention_run"]
    assert shown
    assert owner.scalar(text("select count(*) from jobs where finished_at = :at"), {"at": shown})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tenant_id": "a b"}, "tenant_id"),
        ({"actions": []}, "actions"),
        ({"actions": ["forget"]}, "actions"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"list": True, "dry_run": True}, "list"),
        ({"list": True, "tenant_id": "acme"}, "list"),
        ({"limit": 0}, "limit"),
        ({"after": "x"}, "after"),
        ({"tenant_id": "acme", "dry_run": True, "list": True, "after": "aged:x"}, "after"),
        ({"tenant_id": "acme", "dry_run": True, "list": True, "after": "x:" + "0" * 32}, "after"),
        ({"dryrun": True}, "dryrun"),
    ],
)
def test_a_wrong_request_is_refused(shared: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = run(shared, **body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["field"] == field
