"""One who calls a service with any key, and looks at each answer for what is not theirs."""

import re
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
from sqlalchemy import Connection

from tests.api.isolation.operations import OPERATIONS, Aim, Call, Place
from tests.api.isolation.planted import Planted, another_request, begin_anew
from tests.api.isolation.statements import Statements

# They differ between two answers to the same request.
OWN_OF_EACH = {"date", "x-request-id", "content-length"}
OWN_JOB = re.compile(r'(?<="job_id":)"[^"]+"')


class Answer(NamedTuple):
    """What was answered, without what differs from request to request, and what was sent for it."""

    status: int
    body: str
    headers: dict[str, str]
    statements: list[tuple[str, str]]

    def __repr__(self) -> str:
        return f"{self.status} {self.body[:300]} {self.headers} {len(self.statements)} statements"


class Attacker:
    """Sends calls. Each answer is looked through for what is the victim's alone."""

    def __init__(
        self, api: httpx.Client, owner: Connection, planted: Planted, statements: Statements
    ) -> None:
        self.api = api
        self.owner = owner
        self.planted = planted
        self.statements = statements
        self.document: dict[str, Any] = api.get("/docs/openapi.json").json()

    @property
    def own(self) -> Aim:
        """Ids of one's own."""
        return self.planted.mine

    @property
    def foreign(self) -> Aim:
        """The victim's ids."""
        return self.planted.victim

    def send(self, place: Place, call: Call, key: str | None) -> Answer:
        """The answer to one call; raises `AssertionError` when the victim shows in it."""
        begin_anew(self.owner, self.own)
        response = self.ask(place, call, key)
        text = f"{response.text} {response.headers}"
        leaked = self.leaks(call, text)
        assert not leaked, f"{place}: {leaked} in {text[:2000]}"
        request_id = response.headers["x-request-id"]
        headers = {
            name: value for name, value in response.headers.items() if name not in OWN_OF_EACH
        }
        sent = self.statements.of_request(request_id)
        body = OWN_JOB.sub('"JOB"', response.text.replace(request_id, "REQUEST"))
        return Answer(response.status_code, body, headers, sent)

    def ask(self, place: Place, call: Call, key: str | None) -> httpx.Response:
        """The response to one call, as it is."""
        method, path = place
        headers = {"x-request-id": another_request(), **call.headers}
        if key is not None:
            headers["x-api-key"] = key
        query = {name: value for name, value in call.query.items() if value is not None}
        return self.api.request(
            method,
            path.format_map({name: quote(str(value), "") for name, value in call.path.items()}),
            params=query,
            json=without_nulls(call.json),
            headers=headers,
        )

    def leaks(self, call: Call, text: str) -> list[str]:
        """What stands in `text` of the victim's, and was not sent."""
        for sent in strings_of([call.path, call.query, call.json]):
            text = text.replace(sent, "")
        return self.planted.seen_in(text)

    def answers(self, place: Place, aim: Aim, key: str | None) -> list[Answer]:
        """The answers to all calls of an operation."""
        return [self.send(place, call, key) for call in OPERATIONS[place].calls(aim)]

    def documented(self, place: Place) -> dict[str, Any]:
        """What the document says of an operation."""
        method, path = place
        operation: dict[str, Any] = self.document["paths"][path][method]
        return operation

    def may_leave_out_tenant(self, place: Place) -> bool:
        """Whether the operation is for a tenant, or without a name for more than one."""
        parameters = self.documented(place).get("parameters", [])
        required = {each["name"]: each.get("required", False) for each in parameters}
        schema = body_schema(self.documented(place))
        if "tenant_id" in schema.get("properties", {}):
            required["tenant_id"] = "tenant_id" in schema.get("required", [])
        return required.get("tenant_id") is False


def body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    """The schema of an operation's JSON body, empty without one."""
    content = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] = content.get("application/json", {}).get("schema", {})
    return schema


def without_nulls(body: dict[str, Any] | None) -> dict[str, Any] | None:
    """`body` without the fields that are None."""
    if body is None:
        return None
    return {name: value for name, value in body.items() if value is not None}


def strings_of(value: Any) -> list[str]:
    """The strings in a structure, the longest first."""
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return []
    found = [text for each in inside for text in strings_of(each)]
    return sorted(found, key=len, reverse=True)
