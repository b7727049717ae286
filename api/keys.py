"""`/v1/admin/keys`: keys for applications and people, made, replaced and revoked by operators."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post
from litestar.params import PathParameter, QueryParameter, RawBody

from api.bodies import check_json, read, read_id
from api.entry import OPERATOR, caller_of, request_id_of, who
from api.openapi import documented_body
from api.problems import ProblemError
from api.runtime import NamedRuntime
from db.keys import By, create_key, revoke_key, rotate_key
from db.queries.keys import key_from_row, keys_page
from db.sessions import operator_transaction
from memory.access import AccessScope
from memory.keys import IssuedKey, Key, NewKey, Rotation, check_expiry, check_key
from memory.messages import TENANT_OR_ALL_PATTERN

PAGE_MOST = 200
NEW_KEY = msgspec.json.Decoder(NewKey)
ROTATION = msgspec.json.Decoder(Rotation)

HttpRequest = Request[Any, Any, Any]
KeyId = Annotated[str, PathParameter(description="The key's id, a UUID; not the key itself.")]


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, the newest first; `next` is the `before` of the next page, null when there is none."""

    items: list[Key]
    next: UUID | None


@post(
    "/v1/admin/keys",
    operation_class=documented_body(NewKey),
    status_code=201,
    tags=["admin"],
    opt=OPERATOR,
)
async def make_key(request: HttpRequest, runtime: NamedRuntime, body: RawBody) -> IssuedKey:
    """Make a key. The answer is the only place where it is ever shown.

    From the first one on the service asks for a key, also where it has asked for none.
    """
    check_json(request)
    new = read(NEW_KEY, body)
    check_key(new, datetime.now(UTC))
    check_grant(request, new.scopes)
    async with operator_transaction(runtime.engine) as connection:
        issued = await connection.run_sync(create_key, new, by(request))
    runtime.door.close()
    return issued


@get("/v1/admin/keys", tags=["admin"], opt=OPERATOR)
async def list_keys(
    runtime: NamedRuntime,
    tenant_id: Annotated[
        str | None, QueryParameter(min_length=1, max_length=64, pattern=TENANT_OR_ALL_PATTERN)
    ] = None,
    ended: Annotated[bool, QueryParameter()] = False,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MOST)] = 50,
    before: Annotated[UUID | None, QueryParameter()] = None,
) -> KeyPage:
    """Keys, the newest first, without what is sent; with `ended` expired and revoked ones too.

    With `tenant_id` those that open this tenant, with `*` those for all tenants.
    """
    async with operator_transaction(runtime.engine) as connection:
        rows = (await connection.execute(keys_page(tenant_id, ended, before, limit + 1))).all()
    items = [key_from_row(row, datetime.now(UTC)) for row in rows[:limit]]
    return KeyPage(items=items, next=items[-1].id if len(rows) > limit else None)


@delete("/v1/admin/keys/{key_id:str}", status_code=200, tags=["admin"], opt=OPERATOR)
async def end_key(request: HttpRequest, runtime: NamedRuntime, key_id: KeyId) -> Key:
    """Revoke a key: within seconds it opens nothing, at any process. Its row stays.

    To revoke a revoked key changes nothing.
    """
    wanted = read_id("key_id", key_id)
    async with operator_transaction(runtime.engine) as connection:
        ended = await connection.run_sync(revoke_key, wanted, by(request))
    runtime.keys.forget()
    return ended


@post(
    "/v1/admin/keys/{key_id:str}/rotate",
    operation_class=documented_body(Rotation),
    status_code=201,
    tags=["admin"],
    opt=OPERATOR,
)
async def replace_key(
    request: HttpRequest, runtime: NamedRuntime, key_id: KeyId, body: RawBody
) -> IssuedKey:
    """Make a key that may do what an old one may, which ends after a time of grace.

    409 for a key that has ended or was replaced already.
    """
    check_json(request)
    rotation = read(ROTATION, body)
    check_expiry(rotation.expires_at, datetime.now(UTC))
    wanted = read_id("key_id", key_id)
    async with operator_transaction(runtime.engine) as connection:
        issued = await connection.run_sync(rotate_key, wanted, rotation, by(request))
        check_grant(request, issued.scopes)
    runtime.keys.forget()
    return issued


def by(request: HttpRequest) -> By:
    """Who does something to a key, for its record."""
    return By(who(request), request_id_of(request))


def check_grant(request: HttpRequest, scopes: Iterable[AccessScope]) -> None:
    """Raise the 403 for a caller who would hand out what the caller's own key may not."""
    if missing := sorted(set(scopes) - caller_of(request).scopes):
        detail = f"This key has not the scope {missing[0]}, and can give it to no other."
        raise ProblemError(403, "forbidden", detail)
