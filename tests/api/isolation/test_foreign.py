"""What is another tenant's is, for every operation of the document, as if it did not exist."""

import pytest

from tests.api.isolation.attacking import Attacker, body_schema
from tests.api.isolation.operations import (
    NAMES,
    OPERATIONS,
    Call,
    Place,
    takes_ids,
    takes_tenant,
)
from tests.api.isolation.planted import ALSO_MINE, MINE, NOBODY, VICTIM

METHODS = {"get", "post", "put", "patch", "delete"}
WITH_TENANT = [place for place, operation in OPERATIONS.items() if takes_tenant(operation)]
WITH_IDS = [place for place, operation in OPERATIONS.items() if takes_ids(operation)]
PLACED = pytest.mark.parametrize("place", OPERATIONS, ids=" ".join)


def used(calls: list[Call]) -> set[str]:
    """The names of all parameters and properties that `calls` use."""
    names = {
        name
        for call in calls
        for fields in (call.path, call.query, call.headers, call.json or {})
        for name in fields
    }
    return {name.partition(".")[0] for name in names}


def test_every_operation_of_the_document_is_attacked(attacker: Attacker) -> None:
    documented = {
        (method, path)
        for path, item in attacker.document["paths"].items()
        for method in METHODS & item.keys()
    }
    assert documented == OPERATIONS.keys(), "say in operations.py how it is attacked"


@PLACED
def test_every_field_of_the_document_is_used(attacker: Attacker, place: Place) -> None:
    operation = attacker.documented(place)
    fields = {each["name"] for each in operation.get("parameters", [])}
    fields |= body_schema(operation).get("properties", {}).keys()
    missing = fields - used(OPERATIONS[place].calls(NAMES))
    assert not missing, f"say in operations.py how {place} is called with these"


@pytest.mark.parametrize("place", WITH_TENANT, ids=" ".join)
def test_a_foreign_tenant_is_refused_whether_there_is_one_or_not(
    attacker: Attacker, place: Place
) -> None:
    for key in (attacker.planted.keys.mine, attacker.planted.keys.both):
        there = attacker.answers(place, attacker.foreign, key)
        nowhere = attacker.answers(place, attacker.foreign.missing().at(NOBODY), key)
        mixed = attacker.answers(place, attacker.own.at(VICTIM), key)
        assert {each.status for each in there} == {403}
        assert there == nowhere == mixed
        assert not any(each.statements for each in there)


@pytest.mark.parametrize("place", WITH_IDS, ids=" ".join)
def test_a_foreign_id_is_as_one_that_does_not_exist(attacker: Attacker, place: Place) -> None:
    tenants = [MINE, *([None] if attacker.may_leave_out_tenant(place) else [])]
    for key in (attacker.planted.keys.mine, attacker.planted.keys.both):
        for tenant in tenants:
            foreign = attacker.answers(place, attacker.foreign.at(tenant), key)
            missing = attacker.answers(place, attacker.foreign.missing().at(tenant), key)
            assert foreign == missing
            if "message_id}" in place[1] or "job_id}" in place[1]:
                assert {each.status for each in foreign} == {404}


@pytest.mark.parametrize("place", WITH_IDS, ids=" ".join)
def test_an_id_of_one_of_the_own_tenants_is_none_of_another(
    attacker: Attacker, place: Place
) -> None:
    if place not in WITH_TENANT or "message_id}" not in place[1]:
        return
    keys = attacker.planted.keys
    here = attacker.answers(place, attacker.own.at(ALSO_MINE), keys.both)
    missing = attacker.answers(place, attacker.own.missing().at(ALSO_MINE), keys.both)
    assert here == missing
    assert {each.status for each in here} == {404}
    assert attacker.answers(place, attacker.own, keys.both)[0].status in {200, 202}


@PLACED
def test_what_is_ones_own_is_answered(attacker: Attacker, place: Place) -> None:
    """Or the refusals would be those of calls that nobody may make."""
    answers = attacker.answers(place, attacker.own, attacker.planted.keys.mine)
    refused = {403} if OPERATIONS[place].access == "operator" else set(range(200, 300))
    assert {each.status for each in answers} <= refused, answers
