"""No operation answers who has no key, a key that has ended, or one without its scope."""

import msgspec
import pytest

from memory.keys import drawn_key
from memory.settings import Settings
from tests.api.isolation.attacking import Attacker
from tests.api.isolation.operations import OPERATIONS, Call, Place
from tests.api.isolation.planted import NOBODY, OPERATOR, VICTIM
from tests.conftest import serving

LOCKED = [place for place, operation in OPERATIONS.items() if operation.access != "public"]
PUBLIC = [place for place, operation in OPERATIONS.items() if operation.access == "public"]
OF_ALL = [
    ("post", "/v1/admin/retention/run"),
    ("post", "/v1/admin/importance/run"),
    ("post", "/v1/admin/embeddings/retry"),
]
LISTS = [("get", "/v1/jobs"), ("get", "/v1/admin/audit")]
ON_LOCKED = pytest.mark.parametrize("place", LOCKED, ids=" ".join)


@ON_LOCKED
def test_without_a_key_that_opens_there_is_no_answer(attacker: Attacker, place: Place) -> None:
    keys = attacker.planted.keys
    for key in (None, "", "mine", drawn_key(), keys.expired, keys.revoked):
        for aim in (attacker.own, attacker.foreign):
            for answer in attacker.answers(place, aim, key):
                assert answer.status == 401
                assert answer.headers["www-authenticate"]
                assert not answer.statements


@ON_LOCKED
def test_a_key_does_what_its_scope_says(attacker: Attacker, place: Place) -> None:
    takes, keys = OPERATIONS[place].access, attacker.planted.keys
    for scope, key in (("read", keys.read), ("write", keys.write), ("admin", keys.admin)):
        for answer in attacker.answers(place, attacker.own, key):
            if takes == scope:
                assert 200 <= answer.status < 300
            else:
                assert answer.status == 403
                assert not answer.statements


@pytest.mark.parametrize("place", PUBLIC, ids=" ".join)
def test_what_is_public_tells_everybody_the_same(attacker: Attacker, place: Place) -> None:
    keys = (None, attacker.planted.keys.mine, attacker.planted.keys.revoked)
    answers = [attacker.send(place, Call(), key) for key in keys]
    assert {each.status for each in answers} == {200}
    assert len({tuple(sorted(each.headers)) for each in answers}) == 1


@pytest.mark.parametrize("place", OF_ALL, ids=" ".join)
def test_what_is_done_to_all_tenants_takes_a_key_for_all(attacker: Attacker, place: Place) -> None:
    assert attacker.may_leave_out_tenant(place)
    for key in (attacker.planted.keys.mine, attacker.planted.keys.both):
        for aim in (attacker.own, attacker.foreign):
            for answer in attacker.answers(place, aim.at(None), key):
                assert answer.status == 403
                assert not answer.statements


def test_the_operations_for_one_or_all_tenants_are_these(attacker: Attacker) -> None:
    named_by_id = {place for place in OPERATIONS if "{message_id}" in place[1]}
    for_one_or_all = {place for place in OPERATIONS if attacker.may_leave_out_tenant(place)}
    assert for_one_or_all - named_by_id == {*OF_ALL, *LISTS, ("get", "/v1/admin/keys")}


@pytest.mark.parametrize("place", LISTS, ids=" ".join)
def test_a_list_of_all_is_of_the_tenants_of_the_key(attacker: Attacker, place: Place) -> None:
    keys = attacker.planted.keys
    for key, tenants in ((keys.mine, {"mine"}), (keys.both, {"mine", "also-mine"})):
        items = attacker.ask(place, Call(query={"limit": 200}), key).json()["items"]
        assert {each["tenant_id"] for each in items} == tenants
    assert attacker.ask(place, Call(), keys.theirs).json()["items"][0]["tenant_id"] == VICTIM


def test_the_jobs_of_all_are_an_operators(attacker: Attacker) -> None:
    for key in (attacker.planted.keys.mine, attacker.planted.keys.both):
        answer = attacker.send(("get", "/v1/jobs"), Call(query={"tenant_id": "*"}), key)
        assert answer.status == 403
        assert not answer.statements


def test_a_key_is_not_told_which_tenants_there_are(attacker: Attacker) -> None:
    bodies = set()
    for tenant_id in (VICTIM, NOBODY, "another"):
        call = Call(query={"tenant_id": tenant_id})
        bodies.add(attacker.send(("get", "/v1/messages"), call, attacker.planted.keys.mine).body)
    assert len(bodies) == 1


def test_the_metrics_are_an_operators_unless_they_are_public(
    attacker: Attacker, service: Settings
) -> None:
    keys = attacker.planted.keys
    assert attacker.api.get("/metrics").status_code == 200
    with serving(msgspec.structs.replace(service, metrics_public=False)) as api:
        for key, status in (("", 401), (keys.mine, 403), (keys.admin, 403), (OPERATOR, 200)):
            answer = api.get("/metrics", headers={"x-api-key": key})
            assert answer.status_code == status
            assert VICTIM not in answer.text
