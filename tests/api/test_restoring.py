"""What was archived comes back as it was, and stays."""

import httpx
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection

from tests.api.speaking import Speaker, contents
from tests.contexts import at, contexts
from tests.processes import wait_until
from tests.tasks.ageing import archived, grow_old, matter


@pytest.fixture
def ids(api: httpx.Client, worker: CeleryTestWorker, owner: Connection) -> list[str]:
    """Three messages of a conversation, embedded, and the middle one archived."""
    assert worker
    speaker = Speaker(api, "acme")
    ids = [speaker.say(f"said{n}", created_at=at(n)) for n in range(3)]
    wait_until(lambda: {status(api, each) for each in ids} == {"completed"}, "all is embedded")
    matter(owner, 0.1, [ids[1]])
    grow_old(owner, 31)
    api.post("/v1/admin/retention/run", json={})
    assert archived(owner) == ["said1"]
    return ids


def status(api: httpx.Client, message_id: str) -> str:
    return str(api.get(f"/v1/messages/{message_id}").json()["embedding_status"])


def test_a_restored_message_is_found_and_embedded_again(
    api: httpx.Client, owner: Connection, ids: list[str]
) -> None:
    speaker = Speaker(api, "acme")
    answer = api.post(f"/v1/messages/{ids[1]}/restore")
    assert answer.status_code == 202, answer.text
    assert answer.json()["archived_at"] is None
    assert "said1" in contents(speaker.finds("said1", mode="lexical"))
    wait_until(lambda: status(api, ids[1]) == "completed", "it is embedded")
    assert "said1" in contents(speaker.finds("said1", mode="semantic"))
    assert contexts(owner) == {"said1": "said0", "said2": "said1"}


def test_a_restored_message_is_not_archived_again_at_once(
    api: httpx.Client, owner: Connection, ids: list[str]
) -> None:
    api.post(f"/v1/messages/{ids[1]}/restore", params={"tenant_id": "acme"})
    # A run leaves alone what a worker is at.
    wait_until(lambda: status(api, ids[1]) == "completed", "it is embedded")
    assert api.post("/v1/admin/retention/run", json={}).json()["archived"] == 0
    grow_old(owner, 31)
    assert api.post("/v1/admin/retention/run", json={}).json()["archived"] == 1


def test_what_is_not_archived_is_left_as_it_is(api: httpx.Client, ids: list[str]) -> None:
    before = api.get(f"/v1/messages/{ids[0]}").json()
    answer = api.post(f"/v1/messages/{ids[0]}/restore")
    assert answer.status_code == 200
    assert answer.json() == before == api.get(f"/v1/messages/{ids[0]}").json()


def test_of_another_tenant_there_is_nothing_to_restore(
    api: httpx.Client, owner: Connection, ids: list[str]
) -> None:
    answer = api.post(f"/v1/messages/{ids[1]}/restore", params={"tenant_id": "globex"})
    assert answer.status_code == 404
    assert api.post("/v1/messages/nonsense/restore").status_code == 400
    assert archived(owner) == ["said1"]
