"""What runs as the owner, past row-level security, checks for itself whom it answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import ProgrammingError

from db.queries.keys import API_KEY
from db.sessions import AS_API, NAME_TENANTS
from memory.keys import digest_of
from tests.api.isolation.planted import MINE, OPERATOR, VICTIM, Planted

# What each gives to whoever may call it, with no tenant named; and to one who names another.
AS_OWNER = {
    "lexical_matches": "scores of messages of a tenant that the transaction names",
    "messages_with_key": "ids of messages of a tenant that the transaction names",
    "tenant_of_message": "the tenant of an id, to a transaction that is an operator's",
    "api_key": "what is known of a key, to one who has its digest",
    "any_api_key": "whether there is a key",
}
DEFINERS = text("""
select proname, pg_get_functiondef(oid) as definition, proconfig,
  has_function_privilege('public', oid, 'execute') as for_all
from pg_proc where prosecdef and pronamespace = 'public'::regnamespace
""")
KEY_OF = text("""
select min(key) from message_terms, unnest(keys) as key
where tenant_id = :tenant_id and kind = 'content' and key & 2147483648 = 0
""")
ALL_KEYS = text("""
select distinct unnest(keys) from message_terms where tenant_id = :tenant_id
""")
WITH_KEY = text("select messages_with_key(:tenant_id, :key, true)")
MATCHES = text("""
select message_id::text from lexical_matches(:tenant_id, cast(:terms as int[]),
  cast(:keys as int8[]), cast(:others as uuid[]), 0.5, 1.2, 0.75, 100, 1000, 1000, true)
""")
REFUSED = "does not name this tenant"


@contextmanager
def as_api(store: Connection) -> Iterator[Connection]:
    """A transaction of the API's role that names one's own tenant, and is rolled back."""
    store.exec_driver_sql("begin")
    try:
        store.execute(AS_API)
        store.execute(NAME_TENANTS, {"tenants": MINE})
        yield store
    finally:
        store.exec_driver_sql("rollback")


def test_these_are_all(store: Connection) -> None:
    found: dict[str, Row[Any]] = {row.proname: row for row in store.execute(DEFINERS)}
    assert found.keys() == AS_OWNER.keys()
    for row in found.values():
        assert row.proconfig is not None
        assert "search_path=public, pg_temp" in row.proconfig
        assert not row.for_all


def test_the_tenant_is_one_that_the_transaction_names(store: Connection, planted: Planted) -> None:
    key = store.scalar(KEY_OF, {"tenant_id": VICTIM})
    assert store.scalar(KEY_OF, {"tenant_id": MINE}) != key
    asked = {"terms": [1], "keys": [key], "others": [planted.victim.message], "key": key}
    for function in (WITH_KEY, MATCHES):
        with as_api(store), pytest.raises(ProgrammingError, match=REFUSED):
            store.execute(function, asked | {"tenant_id": VICTIM})


def test_what_is_asked_for_by_another_s_keys_and_ids_is_not_there(
    store: Connection, planted: Planted
) -> None:
    for key in store.scalars(ALL_KEYS, {"tenant_id": VICTIM}).all():
        asked = {"terms": [key & 0x7FFFFFFF], "keys": [key], "key": key, "tenant_id": MINE}
        with as_api(store):
            assert store.scalars(WITH_KEY, asked).all() == []
            others = {"others": [planted.victim.message, planted.victim.archived]}
            assert store.scalars(MATCHES, asked | others).all() == []


def test_who_names_the_tenant_is_answered(store: Connection) -> None:
    """Or they would give nothing for another reason."""
    key = store.scalar(KEY_OF, {"tenant_id": VICTIM})
    store.exec_driver_sql("begin")
    try:
        store.execute(NAME_TENANTS, {"tenants": VICTIM})
        found = {"tenant_id": VICTIM, "key": key, "terms": [key & 0x7FFFFFFF], "keys": [key]}
        assert store.scalars(WITH_KEY, found).all()
        assert store.scalars(MATCHES, found | {"others": []}).all()
    finally:
        store.exec_driver_sql("rollback")


def test_a_key_is_known_by_its_digest_alone(store: Connection, planted: Planted) -> None:
    with as_api(store):
        found = store.execute(API_KEY, {"digest": digest_of(planted.keys.theirs)}).one()
        assert found.tenants == [VICTIM]
        for wrong in (OPERATOR, "", f"{planted.keys.theirs} "):
            assert store.execute(API_KEY, {"digest": digest_of(wrong)}).all() == []
        assert store.execute(text("select * from api_keys")).all() == []
