"""Who is let in, at whichever process, and what a key that ended there opens here."""

import time
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from sqlalchemy import Connection

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.issuing import (
    EVERYTHING,
    KEYS,
    OPERATOR,
    OPERATOR_KEY,
    closed,
    first_key,
    in_seconds,
    issue,
    opens,
    revoke,
    rotate,
    sent,
    status,
)
from tests.api.test_busy import locked, waiting
from tests.api.test_job_events import watching
from tests.conftest import message, serving
from tests.db.rows import add_job
from tests.processes import wait_until

# What holds at once where it was done holds within this everywhere else.
SECONDS = 20.0


@pytest.fixture
def pair(settings: Settings) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two processes on one store, with an operator key."""
    with serving(closed(settings)) as here, serving(closed(settings)) as there:
        yield here, there


@pytest.fixture
def open_pair(open_settings: Settings) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two processes on one store, without a key."""
    with serving(open_settings) as here, serving(open_settings) as there:
        yield here, there


@pytest.mark.parametrize("end", ["revoked", "rotated", "expired"])
def test_a_key_ends_at_every_process(pair: tuple[httpx.Client, httpx.Client], end: str) -> None:
    here, there = pair
    key = issue(here, **({"expires_at": in_seconds(4)} if end == "expired" else {}))
    assert opens(here, key)
    assert opens(there, key)
    if end == "revoked":
        assert revoke(here, key).is_success
    elif end == "rotated":
        assert rotate(here, key, grace_seconds=0).is_success
    began = time.monotonic()
    if end != "expired":
        assert not opens(here, key)
    # It is asked for all the while: no use of a key keeps it alive.
    wait_until(lambda: not opens(there, key), "it has ended there", SECONDS)
    wait_until(lambda: not opens(here, key), "it has ended here", SECONDS)
    assert time.monotonic() - began < SECONDS
    assert_problem(there.get("/v1/jobs", headers=sent(key)), 401, "unauthorized")


def test_a_stream_ends_with_its_key(settings: Settings, owner: Connection) -> None:
    # Where a worker would see to the job, but there is none.
    kept = msgspec.structs.replace(settings, api_keys=OPERATOR_KEY)
    job_id = add_job(owner, state="running")
    with (
        serving(kept) as here,
        serving(kept) as there,
        httpx.Client(base_url=there.base_url, timeout=30) as beside,
        watching(there, job_id, **sent(key := issue(here))) as told,
        watching(beside, job_id, **sent(other := issue(here))) as told_besides,
    ):
        assert next(told)[0] == next(told_besides)[0] == "progress"
        assert revoke(here, key).is_success
        began = time.monotonic()
        assert [event for event, _ in told if event] == []
        assert time.monotonic() - began < SECONDS
        assert rotate(here, other, grace_seconds=0).is_success
        assert [event for event, _ in told_besides if event] == []


def test_the_first_key_closes_every_process(settings: Settings, owner: Connection) -> None:
    job_id = add_job(owner, state="running")
    with (
        serving(settings) as here,
        serving(settings) as there,
        watching(there, job_id) as told,
    ):
        assert next(told)[0] == "progress"
        assert here.post("/v1/messages", json=message()).status_code == 202
        assert status(here) == status(there) == 404
        key = first_key(here)
        assert key["created_by"] == "local"
        assert_problem(here.post("/v1/messages", json=message()), 401, "unauthorized")
        # Whoever watched without a key was let in by nothing that holds still.
        assert [event for event, _ in told if event] == []
        wait_until(lambda: status(there) == 401, "it has closed there", SECONDS)
        for api in (here, there):
            assert opens(api, key)
            assert api.get("/v1/admin/live", headers={"Host": "memory.example"}).status_code == 200


def test_a_closed_service_opens_no_more(open_settings: Settings) -> None:
    with serving(open_settings) as api:
        key = first_key(api)
        assert api.delete(f"{KEYS}/{key['id']}", headers=sent(key)).is_success
        assert status(api) == status(api, **sent(key)) == 401
    with serving(open_settings) as api:
        assert status(api) == status(api, **sent(key)) == 401


def test_it_closes_though_the_models_cannot_be_followed(
    open_pair: tuple[httpx.Client, httpx.Client], owner: Connection
) -> None:
    here, there = open_pair
    with locked(owner, "embedding_models"):
        wait_until(lambda: waiting(owner, "from embedding_models") >= 2, "both wait for models")
        first_key(here)
        wait_until(lambda: status(there) == 401, "it has closed there", SECONDS)


def test_beyond_loopback_a_key_of_the_store_opens(open_settings: Settings) -> None:
    with serving(open_settings) as api:
        key = first_key(api)
    exposed = msgspec.structs.replace(open_settings, api_host="0.0.0.0")
    with serving(exposed) as api:
        assert status(api) == 401
        assert opens(api, key)
        assert api.delete(f"{KEYS}/{key['id']}", headers=sent(key)).is_success
        assert status(api) == 401


def test_beyond_loopback_nobody_makes_the_first_key(open_settings: Settings) -> None:
    exposed = msgspec.structs.replace(open_settings, api_host="0.0.0.0")
    with serving(exposed) as api:
        assert_problem(api.post(KEYS, json=EVERYTHING), 401, "unauthorized")


def test_the_metrics_may_ask_for_an_operators_key(settings: Settings) -> None:
    with serving(closed(settings, metrics_public=False)) as api:
        assert_problem(api.get("/metrics"), 401, "unauthorized")
        bound = issue(api, "acme", scopes=["read", "write", "admin"])
        reader = issue(api, "*", scopes=["read", "write"])
        for key in (bound, reader):
            assert_problem(api.get("/metrics", headers=sent(key)), 403, "forbidden")
        for headers in (OPERATOR, sent(issue(api, **EVERYTHING))):
            answer = api.get("/metrics", headers=headers)
            assert answer.status_code == 200
            assert "http_requests_total" in answer.text
