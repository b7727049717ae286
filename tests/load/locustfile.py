"""Load as applications make it, for a server of your own: `make load`, or see docs/load.md.

Three kinds of users: people who chat, agents who search, and those who import old chats, each for
one of several tenants. It needs locust and the files beside it, nothing of the service. A run ends
after so many requests, or so much time; its exit code is 1 when too many of them failed.
"""

import os
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

import gevent
from bounds import Load, give_up, waiting
from locust import FastHttpUser, between, task
from locust.exception import StopUser
from talking import exchanges, old_chat, remark

BATCH = 100
# Who chats asks about one of so many of the last turns.
REMEMBERED = 20
# A service that has a longer wait is asked again meanwhile.
LONGEST_WAIT_SECONDS = 60.0
# Not an option: others on the machine could read it there, and a master sends those to its workers.
KEY = os.environ.get("LOAD_KEY", "")


class Caller(FastHttpUser):
    """Somebody who uses the API, for one tenant."""

    abstract = True
    insecure = False
    max_retries = 0
    default_headers = {"x-api-key": KEY} if KEY else {}

    def on_start(self) -> None:
        """Belong to a tenant: to the second half as often as to the first, and so on."""
        self.random = Random()
        tenants = self.environment.parsed_options.tenants.split(",")
        weights = [1 / rank for rank in range(1, len(tenants) + 1)]
        (self.tenant_id,) = self.random.choices(tenants, weights)
        self.begin_anew()

    def begin_anew(self) -> None:
        """A new conversation."""
        self.conversation_id = f"load-{uuid.uuid4().hex}"
        self.said = exchanges(self.random)
        self.questions: list[str] = []

    def call(self, method: str, path: str, check: Callable[[Any], str], **request: Any) -> None:
        """Send a request, and again while it is told to wait.

        `check` says of an answer's JSON what is wrong with it, and nothing when it is right.
        """
        wait: float | None = 0.0
        while wait is not None:
            gevent.sleep(wait)
            if not Load.allowance.take():
                raise StopUser
            try:
                wait = self._send(method, path, check, request)
            finally:
                Load.allowance.done()

    def _send(
        self, method: str, path: str, check: Callable[[Any], str], request: dict[str, Any]
    ) -> float | None:
        with self.client.request(method, path, name=path, catch_response=True, **request) as answer:
            status, later = answer.status_code, (answer.headers or {}).get("Retry-After")
            if status in (429, 503) and later:
                answer.request_meta["name"] = path + waiting(status)
                answer.success()
                return min(float(later), LONGEST_WAIT_SECONDS)
            # 0: nobody listens, or the connection broke, which is reported as it is.
            wrong = reason(answer) if status not in (200, 202) else checked(check, answer)
            if status:
                answer.failure(f"{status}: {wrong}") if wrong else answer.success()
        if status in (401, 403):
            give_up(self.environment, f"{status} at {method} {path}: {wrong}")
        return None

    def post(self, role: str, content: str) -> None:
        """Store a message; a key makes it safe to send it again."""
        body = {
            "tenant_id": self.tenant_id,
            "conversation_id": self.conversation_id,
            "role": role,
            "content": content,
        }

        def check(stored: Any) -> str:
            same = stored["id"] and all(stored[name] == value for name, value in body.items())
            return "" if same else "the stored message is another"

        key = {"Idempotency-Key": uuid.uuid4().hex}
        self.call("POST", "/v1/messages", check, json=body, headers=key)

    def search(self, query: str, **asked: Any) -> None:
        """Search, and check that the answer is one."""
        body = {"tenant_id": self.tenant_id, "query": query, **asked}
        self.call("POST", "/v1/memory/search", lambda found: wrong_with(found, asked), json=body)


class ChatUser(Caller):
    """Somebody who chats: each turn is stored, looked up for the answer, and the answer stored."""

    weight = 6
    wait_time = between(0.2, 1.0)

    @task(20)
    def turn(self) -> None:
        """One turn of the chat."""
        exchange = next(self.said)
        self.questions = [*self.questions[-REMEMBERED:], exchange.question]
        self.post("user", exchange.told)
        self.search(self.random.choice(self.questions), top_k=5)
        self.post("assistant", exchange.answered)

    @task(1)
    def leave(self) -> None:
        """Begin another conversation."""
        self.begin_anew()


class AgentUser(Caller):
    """An agent: it searches all the time, with what is around each hit, and notes a little."""

    weight = 3
    wait_time = between(0.05, 0.2)

    @task(10)
    def look(self) -> None:
        """Look something up."""
        self.search(next(self.said).question, top_k=10, context=2)

    @task(2)
    def look_in_its_own(self) -> None:
        """Look something up in what it has noted."""
        self.search(next(self.said).question, conversation_id=self.conversation_id)

    @task(1)
    def note(self) -> None:
        """Note a step of its work."""
        self.post("tool", remark(self.random))


class ImportUser(Caller):
    """Somebody who brings old chats in, a hundred messages at a time."""

    weight = 1
    wait_time = between(0.5, 1.5)

    @task
    def bring(self) -> None:
        """One batch."""
        self.begin_anew()
        messages = old_chat(self.random, self.conversation_id, self.tenant_id, BATCH)

        def check(stored: Any) -> str:
            ids = {message["id"] for message in stored["items"]}
            return "" if len(ids) == stored["stored"] == BATCH else "not all were stored"

        key = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"messages": messages}
        self.call("POST", "/v1/messages/batch", check, json=body, headers=key)


def wrong_with(found: Any, asked: dict[str, Any]) -> str:
    """What is wrong with the answer of a search; empty when nothing is."""
    scores = [hit["score"] for hit in found["items"]]
    if len(scores) > asked.get("top_k", 5):
        return "more hits than were asked for"
    if not all(0 <= score <= 1 for score in scores) or scores != sorted(scores, reverse=True):
        return "the scores are in no order"
    if not all(hit["message_id"] and hit["content"] for hit in found["items"]):
        return "a hit without id or content"
    return ""


def checked(check: Callable[[Any], str], answer: Any) -> str:
    """What is wrong with an answer that says that all is well."""
    try:
        return check(answer.json())
    except (KeyError, TypeError, ValueError) as error:
        return f"no such answer as is documented ({type(error).__name__}: {error})"


def reason(answer: Any) -> str:
    """What a problem says of itself."""
    try:
        return str(answer.json()["detail"])
    except (KeyError, TypeError, ValueError):
        return "no reason given"
