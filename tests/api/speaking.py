"""A tenant that says things and asks for them again."""

from typing import Any
from uuid import uuid4

import httpx

from tests.conftest import message

PATH = "/v1/memory/search"


class Speaker:
    """A tenant of a service; unless it is named, one that no other test has."""

    def __init__(self, api: httpx.Client, tenant_id: str = "") -> None:
        self.api = api
        self.tenant_id = tenant_id or uuid4().hex

    def say(self, content: str, **changes: Any) -> str:
        """Store a message; gives its id."""
        body = message(**{"tenant_id": self.tenant_id, "content": content, **changes})
        answer = self.api.post("/v1/messages", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def say_all(self, messages: list[dict[str, Any]]) -> list[str]:
        """Store many at once; gives their ids."""
        body = {"messages": [{**each, "tenant_id": self.tenant_id} for each in messages]}
        answer = self.api.post("/v1/messages/batch", json=body)
        assert answer.is_success, answer.text
        return [item["id"] for item in answer.json()["items"]]

    def get(self, query: str, **parameters: Any) -> httpx.Response:
        """The response to a search by URL; a dotted name goes in by `**{"metadata.a": 1}`."""
        asked = {"tenant_id": self.tenant_id, "query": query, **parameters}
        return self.api.get(PATH, params=asked)

    def post(self, **body: Any) -> httpx.Response:
        """The response to a search by body."""
        return self.api.post(PATH, json={"tenant_id": self.tenant_id, **body})

    def answer(self, query: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a search by URL."""
        response = self.get(query, **parameters)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        assert answer["total"] == len(answer["items"])
        return answer

    def finds(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The items of that answer."""
        return list(self.answer(query, **parameters)["items"])


def contents(items: list[dict[str, Any]]) -> list[str]:
    """What was said in each of `items`."""
    return [item["content"] for item in items]
