"""Keys: what the door asks of one, and how they are made, listed, replaced and revoked.

The look-ups of the door span tenants and run as the owner. All else is an operator's.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, any_, func, select, text

from db.key_table import api_keys
from memory.access import Caller
from memory.jobs import ALL_TENANTS
from memory.keys import Key, name_of, state_of

# Across tenants: the door.
API_KEY = text("""
/* api_key */
select id, tenants, scopes, rate_limit, expires_at, revoked_at from api_key(:digest)
""")

# Across tenants: the door.
ANY_API_KEY = text("/* any_api_key */ select any_api_key()")

INSERT_KEY = text("""
/* insert_key */
insert into api_keys (id, digest, label, tenants, scopes, rate_limit, created_by, expires_at)
values (:id, :digest, :label, cast(:tenants as text[]), cast(:scopes as text[]), :rate_limit,
  :created_by, :expires_at)
""")

LOCK_KEY = text("/* lock_key */ select id from api_keys where id = :id for update")

REPLACE_KEY = text("""
/* replace_key */
update api_keys
set replaced_by = :replaced_by,
  expires_at = least(expires_at, now() + make_interval(secs => :grace_seconds))
where id = :id
""")

REVOKE_KEY = text("""
/* revoke_key */
update api_keys set revoked_at = now() where id = :id and revoked_at is null returning id
""")

# At most once a minute for a key, however many processes it is used at.
NOTE_USE = text("""
/* note_use */
update api_keys as known set last_used_at = used.at
from unnest(cast(:ids as uuid[]), cast(:times as timestamptz[])) as used (id, at)
where known.id = used.id
  and (known.last_used_at is null or known.last_used_at <= used.at - interval '1 minute')
""")


def keys_by_id(ids: Sequence[UUID]) -> Select[Any]:
    """The keys of `ids`, in no order."""
    return select(api_keys).prefix_with("/* keys_by_id */").where(api_keys.c.id.in_(ids))


def keys_page(tenant_id: str | None, ended: bool, before: UUID | None, most: int) -> Select[Any]:
    """At most `most` keys, the newest first, older than `before`.

    With `tenant_id` those that are for it, by name or as for all; without `ended` those that open.
    """
    page = select(api_keys).prefix_with("/* keys_page */")
    if tenant_id == ALL_TENANTS:
        page = page.where(api_keys.c.tenants.is_(None))
    elif tenant_id is not None:
        named = any_(api_keys.c.tenants) == tenant_id
        page = page.where(named | api_keys.c.tenants.is_(None))
    if not ended:
        lives = api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > func.now())
        page = page.where(api_keys.c.revoked_at.is_(None), lives)
    if before is not None:
        page = page.where(api_keys.c.id < before)
    return page.order_by(api_keys.c.id.desc()).limit(most)


def key_from_row(row: Row[Any], now: datetime) -> Key:
    """The key of a row of `keys_page` or `keys_by_id`, as it stands at `now`."""
    values = dict(row._mapping)
    digest = bytes(values.pop("digest"))
    tenants = values.pop("tenants")
    return Key(
        **values,
        name=name_of(digest),
        tenants=[ALL_TENANTS] if tenants is None else tenants,
        state=state_of(row.expires_at, row.revoked_at, now),
    )


def caller_from_row(row: Row[Any], digest: bytes) -> Caller:
    """Who presents the key of a row of `API_KEY`."""
    return Caller(
        name=name_of(digest),
        digest=digest,
        scopes=frozenset(row.scopes),
        tenants=None if row.tenants is None else frozenset(row.tenants),
        key_id=row.id,
        rate_limit=row.rate_limit,
    )
