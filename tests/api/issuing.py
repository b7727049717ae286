"""Services that ask for keys, and the keys that are made for them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
from sqlalchemy import Connection, text

from memory.settings import Settings

KEYS = "/v1/admin/keys"
OPERATOR_KEY = "operator-one"
EVERYTHING = {"tenants": ["*"], "scopes": ["read", "write", "admin"]}
OPERATOR = {"x-api-key": OPERATOR_KEY}
TABLES = text("select tablename from pg_tables where schemaname = 'public' order by 1")


def closed(settings: Settings, **changes: Any) -> Settings:
    """`settings` of a service with an operator key, which embeds within the request."""
    given = {"api_keys": OPERATOR_KEY, "async_embeddings": False, "redis_url": "", **changes}
    return msgspec.structs.replace(settings, **given)


def issue(api: httpx.Client, *tenants: str, **changes: Any) -> dict[str, Any]:
    """A new key for `tenants`, or for `acme`, as an operator makes it."""
    body = {"tenants": list(tenants) or ["acme"], **changes}
    answer = api.post(KEYS, json=body, headers=OPERATOR)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def sent(key: dict[str, Any]) -> dict[str, str]:
    """The headers that send a key."""
    return {"x-api-key": str(key["key"])}


def opens(api: httpx.Client, key: dict[str, Any]) -> bool:
    """Whether a key opens; by a path that needs no database, and no tenant."""
    status = api.get("/nowhere", headers=sent(key)).status_code
    assert status in {401, 404}, status
    return status == 404


def in_seconds(seconds: float) -> str:
    """That time, as it is written in a body."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def everything_in(owner: Connection) -> str:
    """All rows of all tables, as text."""
    tables = owner.scalars(TABLES).all()
    found = [owner.scalars(text(f'select t::text from "{table}" t')).all() for table in tables]
    return "\n".join(row for rows in found for row in rows)


def listed(api: httpx.Client, **parameters: Any) -> list[dict[str, Any]]:
    """A page of keys."""
    answer = api.get(KEYS, params=parameters, headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def rotate(api: httpx.Client, key: dict[str, Any], **body: Any) -> httpx.Response:
    """The answer to a rotation."""
    return api.post(f"{KEYS}/{key['id']}/rotate", json=body, headers=OPERATOR)


def revoke(api: httpx.Client, key: dict[str, Any]) -> httpx.Response:
    """The answer to a revocation."""
    return api.delete(f"{KEYS}/{key['id']}", headers=OPERATOR)


def records(api: httpx.Client, action: str, key: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of what was done to a key, the newest first."""
    asked: dict[str, Any] = {"action": action, "limit": 1000}
    items = api.get("/v1/admin/audit", params=asked, headers=OPERATOR).json()["items"]
    return [item for item in items if item["details"].get("key_id") == key["id"]]


def status(api: httpx.Client, **headers: str) -> int:
    """How the service answers to what takes a key, and no database."""
    return api.get("/nowhere", headers=headers).status_code


def first_key(api: httpx.Client) -> dict[str, str]:
    """The first key of a store, which may do everything; it is made without one."""
    answer = api.post(KEYS, json=EVERYTHING)
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made
