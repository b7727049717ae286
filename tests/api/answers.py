"""What is asked of every answer."""

from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import Connection, text

JSON = {"Content-Type": "application/json"}


def assert_problem(
    answer: httpx.Response, status: int, kind: str, field: str | None = None
) -> dict[str, Any]:
    """The problem in `answer`, which must be of this kind and be about `field`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:ai-memory-layer:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    if field is not None:
        assert [error["field"] for error in problem["errors"]] == [field], problem
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return problem


def stored(owner: Connection, table: str = "messages") -> int:
    """How many rows `table` has."""
    return owner.scalar(text(f"select count(*) from {table}")) or 0


def row(owner: Connection, message_id: str) -> dict[str, Any]:
    """The row of a message."""
    found = owner.execute(text("select * from messages where id = :id"), {"id": UUID(message_id)})
    return dict(found.mappings().one())


def moment(written: str) -> datetime:
    """A time of an answer, which must be UTC."""
    assert written.endswith("Z"), written
    return datetime.fromisoformat(written)


def found(api: httpx.Client, query: str, **parameters: Any) -> list[dict[str, Any]]:
    """The items of a search in `acme`, or in another tenant."""
    answer = api.get(
        "/v1/memory/search", params={"tenant_id": "acme", "query": query, **parameters}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["total"] == len(body["items"])
    return list(body["items"])
