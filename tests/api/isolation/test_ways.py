"""Ways around: what is kept, repeated, mixed, spelled otherwise or stands beside another's."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.api.isolation.attacking import Attacker
from tests.api.isolation.operations import ASKED, Call, said
from tests.api.isolation.planted import ALSO_MINE, CANARY, MINE, VICTIM
from tests.processes import wait_until

STORE, BATCH = ("post", "/v1/messages"), ("post", "/v1/messages/batch")
LIST, SEARCH = ("get", "/v1/messages"), ("get", "/v1/memory/search")
POST_SEARCH = ("post", "/v1/memory/search")


def count(owner: Connection, table: str) -> int:
    return int(owner.scalar(text(f"select count(*) from {table}")) or 0)


def own_ids(owner: Connection) -> set[str]:
    mine = "select id::text from messages where tenant_id = any(array['mine', 'also-mine'])"
    return set(owner.scalars(text(mine)).all())


@pytest.mark.parametrize("partial", [True, False])
def test_a_batch_with_one_foreign_message_stores_nothing(attacker: Attacker, partial: bool) -> None:
    own, foreign = said(attacker.own), said(attacker.own.at(VICTIM))
    before = count(attacker.owner, "messages"), count(attacker.owner, "idempotency_keys")
    for messages in ([own, own, foreign], [foreign, own], [own, foreign, {"content": ""}]):
        call = Call(json={"messages": messages, "partial": partial})
        answer = attacker.send(BATCH, call, attacker.planted.keys.both)
        assert answer.status == (400 if not partial and len(messages[-1]) == 1 else 403)
        assert not answer.statements
    assert (count(attacker.owner, "messages"), count(attacker.owner, "idempotency_keys")) == before


def test_a_batch_for_two_tenants_takes_a_key_for_both(attacker: Attacker) -> None:
    messages = [said(attacker.own), said(attacker.own.at(ALSO_MINE))]
    call = Call(json={"messages": messages})
    assert attacker.send(BATCH, call, attacker.planted.keys.mine).status == 403
    assert attacker.send(BATCH, call, attacker.planted.keys.both).status == 202


def test_the_idempotency_key_of_another_tenant_is_ones_own_to_use(attacker: Attacker) -> None:
    theirs = f"{CANARY}-key"
    assert attacker.owner.scalar(
        text("select tenant_id from idempotency_keys where key = :key"), {"key": theirs}
    )
    call = Call(json=said(attacker.own), headers={"Idempotency-Key": theirs})
    first = attacker.send(STORE, call, attacker.planted.keys.mine)
    again = attacker.send(STORE, call, attacker.planted.keys.mine)
    assert first.status == again.status == 202
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert first.body == again.body
    foreign = replace(call, json=said(attacker.own.at(VICTIM)))
    assert attacker.send(STORE, foreign, attacker.planted.keys.mine).status == 403


def test_who_talks_in_a_conversation_of_that_name_stands_next_to_nobody(
    attacker: Attacker,
) -> None:
    conversation = attacker.foreign.conversation
    call = Call(json=said(attacker.own) | {"conversation_id": conversation})
    assert attacker.send(STORE, call, attacker.planted.keys.mine).status == 202
    narrowed = {"tenant_id": MINE, "conversation_id": conversation, "include_archived": True}
    around = {"context": 10, "explain": True, "top_k": 100, "query": ASKED}
    answer = attacker.ask(POST_SEARCH, Call(json=narrowed | around), attacker.planted.keys.mine)
    (hit,) = answer.json()["items"]
    assert hit["message_id"] in own_ids(attacker.owner)
    assert hit["before"] == hit["after"] == []
    # Its name would be taken for the other's from now on.
    attacker.owner.execute(text("delete from messages where id = :id"), {"id": hit["message_id"]})


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_the_words_of_another_find_what_is_ones_own(attacker: Attacker, mode: str) -> None:
    words = {"query": f"The otter sleeps in the {CANARY}, 0.", "top_k": 100, "mode": mode}
    scope = {"tenant_id": MINE, "include_archived": True, "context": 5}
    key = {f"metadata.{CANARY}-key": f"{CANARY}-value"}
    query = scope | words | {"include_archived": "true"}
    found = attacker.ask(SEARCH, Call(query=query), attacker.planted.keys.mine).json()
    shown = {hit["message_id"] for hit in found["items"]} | {
        near["message_id"] for hit in found["items"] for near in [*hit["before"], *hit["after"]]
    }
    assert shown
    assert shown <= own_ids(attacker.owner)
    filtered = attacker.ask(SEARCH, Call(query=query | key), attacker.planted.keys.mine)
    assert filtered.json()["items"] == []


def test_what_is_kept_for_another_is_not_given_out(attacker: Attacker) -> None:
    keys = attacker.planted.keys
    asked = {"query": "Which otter is kept?", "top_k": 100}

    def ask(tenant_id: str, key: str) -> Any:
        return attacker.ask(SEARCH, Call(query=asked | {"tenant_id": tenant_id}), key)

    wait_until(lambda: ask(ALSO_MINE, keys.both).json()["cached"], "the answer is kept")
    kept = {hit["message_id"] for hit in ask(ALSO_MINE, keys.both).json()["items"]}
    own = ask(MINE, keys.mine).json()
    assert own["cached"] is False
    assert not kept & {hit["message_id"] for hit in own["items"]}
    assert ask(ALSO_MINE, keys.mine).status_code == 403
    assert ask(ALSO_MINE, keys.theirs).status_code == 403


def test_pages_from_a_foreign_id_on_are_ones_own(attacker: Attacker) -> None:
    for cursor in (attacker.foreign.message, attacker.foreign.failed, str(attacker.own.message)):
        query = {"tenant_id": MINE, "after": cursor, "archived": "include", "limit": 200}
        items = attacker.ask(LIST, Call(query=query), attacker.planted.keys.both).json()["items"]
        assert {each["tenant_id"] for each in items} <= {MINE}
    for path in ("/v1/jobs", "/v1/admin/audit"):
        for cursor in (attacker.foreign.completed, attacker.foreign.record):
            call = Call(query={"before": cursor})
            items = attacker.ask(("get", path), call, attacker.planted.keys.mine).json()["items"]
            assert {each["tenant_id"] for each in items} <= {MINE}


@pytest.mark.parametrize(
    "spelling",
    [f"{MINE},{VICTIM}", f"{VICTIM},", VICTIM.upper(), f"{VICTIM}\n", f" {VICTIM}", "*", "%"],
)
def test_a_tenant_is_its_name_and_no_other_spelling_of_it(
    attacker: Attacker, spelling: str
) -> None:
    key = attacker.planted.keys.mine
    calls = [
        (LIST, Call(query={"tenant_id": spelling})),
        (SEARCH, Call(query={"tenant_id": spelling, "query": ASKED})),
        (STORE, Call(json=said(attacker.own.at(spelling)))),
        (("post", "/v1/admin/retention/run"), Call(json={"tenant_id": spelling})),
        (("get", "/v1/admin/audit"), Call(query={"tenant_id": spelling})),
        (("get", "/v1/admin/tenants/{tenant_id}/policy"), Call(path={"tenant_id": spelling})),
    ]
    for place, call in calls:
        answer = attacker.send(place, call, key)
        assert answer.status in {400, 403, 404}, place
        assert not answer.statements


def test_a_tenant_that_is_named_twice_is_checked_as_it_is_used(attacker: Attacker) -> None:
    headers = {"x-api-key": attacker.planted.keys.mine, "content-type": "application/json"}
    for names in ((MINE, VICTIM), (VICTIM, MINE)):
        twice = "&".join(f"tenant_id={name}" for name in names)
        answer = attacker.api.get(f"/v1/messages?{twice}", headers=headers)
        assert answer.status_code in {400, 403}
        body = ", ".join(f'"tenant_id": "{name}"' for name in names)
        answer = attacker.api.post(
            "/v1/memory/search", content=f'{{{body}, "query": "otter"}}', headers=headers
        )
        assert answer.status_code in {200, 400, 403}
        assert CANARY not in answer.text


def test_no_header_says_whose_a_request_is(attacker: Attacker) -> None:
    headers = dict.fromkeys(("x-tenant-id", "x-tenant", "tenant-id", "x-original-url"), VICTIM)
    call = Call(query={"tenant_id": MINE, "limit": 200}, headers=headers)
    answer = attacker.send(LIST, call, attacker.planted.keys.mine)
    assert answer.status == 200
