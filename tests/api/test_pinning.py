"""A pinned message stays where it is."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Connection

from tests.api.answers import assert_problem, moment, row
from tests.api.speaking import Speaker
from tests.tasks.ageing import archived, grow_old, matter


def change(api: httpx.Client, message_id: str, what: str, **parameters: str) -> dict[str, Any]:
    answer = api.post(f"/v1/messages/{message_id}/{what}", params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_message_is_pinned_until_it_is_unpinned(speaker: Speaker) -> None:
    message_id = speaker.say("I am allergic to peanuts.")
    before = speaker.api.get(f"/v1/messages/{message_id}").json()
    assert before["pinned"] is False
    pinned = change(speaker.api, message_id, "pin")
    assert pinned == speaker.api.get(f"/v1/messages/{message_id}").json()
    assert moment(pinned["updated_at"]) > moment(before["updated_at"])
    assert pinned | {"pinned": False, "updated_at": before["updated_at"]} == before
    assert change(speaker.api, message_id, "unpin", tenant_id=speaker.tenant_id)["pinned"] is False


def test_to_pin_twice_changes_nothing(speaker: Speaker) -> None:
    message_id = speaker.say("I am allergic to peanuts.")
    assert change(speaker.api, message_id, "pin") == change(speaker.api, message_id, "pin")
    assert change(speaker.api, message_id, "unpin") == change(speaker.api, message_id, "unpin")


def test_retention_leaves_a_pinned_message_alone(api: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(api, "acme")
    ids = [speaker.say("pinned"), speaker.say("not pinned")]
    change(api, ids[0], "pin")
    matter(owner, 0.1, ids)
    grow_old(owner, 31)
    assert api.post("/v1/admin/retention/run", json={}).json()["archived"] == 1
    assert archived(owner) == ["not pinned"]
    # In the archive too: it is not deleted then.
    assert change(api, ids[1], "pin")["archived_at"]
    grow_old(owner, 91)
    assert api.post("/v1/admin/retention/run", json={}).json()["deleted"] == 0
    change(api, ids[1], "unpin")
    assert api.post("/v1/admin/retention/run", json={}).json()["deleted"] == 1


@pytest.mark.parametrize("what", ["pin", "unpin"])
def test_what_is_not_there_is_not_pinned(api: httpx.Client, owner: Connection, what: str) -> None:
    message_id = Speaker(api, "acme").say("ours")
    for path, parameters in ((str(uuid4()), {}), (message_id, {"tenant_id": "globex"})):
        answer = api.post(f"/v1/messages/{path}/{what}", params=parameters)
        assert_problem(answer, 404, "not-found")
    assert_problem(api.post(f"/v1/messages/nonsense/{what}"), 400, "invalid-request", "message_id")
    wrong = api.post(f"/v1/messages/{message_id}/{what}", params={"tenant_id": "a b"})
    assert_problem(wrong, 400, "invalid-request", "tenant_id")
    assert row(owner, message_id)["pinned"] is False
