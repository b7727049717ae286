"""No key and no password is anywhere but where it belongs: not in logs, answers, metrics, tasks."""

import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec
import pytest
import redis
from sqlalchemy import Connection

from memory.settings import Settings
from tests.api.issuing import KEYS, closed, everything_in, issue, rotate, sent
from tests.conftest import message, serving
from tests.processes import wait_until

OPERATOR_KEY = "operator-one"
MISTYPED = "aiml_" + "C" * 43
CONTENT = "the vault stands open at noon"


def password_of(url: str) -> str:
    """The password in a URL, which must have one."""
    password = urlsplit(url).password
    assert password
    assert len(password) > 8
    return password


def everything_in_redis(url: str) -> str:
    """All that is in a Redis, as text."""
    found: list[Any] = []
    with redis.Redis.from_url(url) as client:
        for name in client.scan_iter():
            match client.type(name):
                case b"list":
                    found.append(client.lrange(name, 0, -1))
                case b"hash":
                    found.append(client.hgetall(name))
                case b"set":
                    found.append(client.smembers(name))
                case b"zset":
                    found.append(client.zrange(name, 0, -1))
                case _:
                    found.append(client.get(name))
            found.append(name)
    return repr(found)


def listen(caplog: pytest.LogCaptureFixture) -> None:
    """Have everything logged, but for what the test's own client says of its requests."""
    for client in ("httpx", "httpcore"):
        caplog.set_level(logging.WARNING, client)
    # The last of these is the level of what is captured.
    caplog.set_level(logging.DEBUG)


def said_by(answer: httpx.Response) -> str:
    """The body and the headers of an answer."""
    return f"{answer.headers} {answer.text}"


def every_way(api: httpx.Client, key: str) -> list[httpx.Response]:
    """Answers of each kind to one who sends `key`, in a header as it should be, and elsewhere."""
    with_key: list[dict[str, Any]] = [
        {"headers": {"x-api-key": key}},
        {"headers": {"Authorization": f"Bearer {key}"}},
        {"headers": {"Authorization": f"Basic {key}"}},
        {"params": {"tenant_id": "acme", "api_key": key}, "headers": {"x-api-key": key}},
        {"params": {"tenant_id": "acme", "x-api-key": key}},
    ]
    asked = [api.get(path, **each) for path in ("/v1/messages", "/nowhere") for each in with_key]
    headers = {"x-api-key": key}
    wrong = b'{"tenant_id": "acme", "content": '
    return [
        *asked,
        api.post("/v1/messages", json=message(content=CONTENT), headers=headers),
        api.post("/v1/messages", json={"tenant_id": 7}, headers=headers),
        api.post(
            "/v1/messages", content=wrong, headers={**headers, "content-type": "application/json"}
        ),
        api.post("/v1/messages", json=message(conversation_id="\0"), headers=headers),
        api.get(KEYS, headers=headers),
        api.delete(f"{KEYS}/{key}", headers=headers),
        api.get("/v1/admin/audit", headers=headers),
        api.get("/v1/admin/health", headers=headers),
        api.get("/v1/admin/readiness", headers=headers),
        api.get("/metrics", headers=headers),
        api.get("/docs/openapi.json", headers=headers),
    ]


def test_what_is_secret_is_nowhere(
    settings: Settings, owner: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    listen(caplog)
    talkative = msgspec.structs.replace(
        settings, api_keys=OPERATOR_KEY, log_level="DEBUG", sql_echo=True, auth_failure_limit=""
    )
    with serving(talkative) as api:
        bound, everywhere = issue(api), issue(api, "*", scopes=["read", "write", "admin"])
        successor = rotate(api, bound).json()
        keys = [OPERATOR_KEY, MISTYPED, *(key["key"] for key in (bound, everywhere, successor))]
        answers = [answer for key in keys for answer in every_way(api, key)]
        assert {answer.status_code for answer in answers} >= {200, 202, 400, 401, 403, 404}
        wait_until(
            lambda: "embed_messages" in everything_in_redis(settings.redis_url), "tasks are sent"
        )
        tasks = everything_in_redis(settings.redis_url)
    logged = caplog.text
    stored = everything_in(owner)
    assert "request" in logged
    assert "begin" in logged.lower()
    told = "\n".join(map(said_by, answers))
    passwords = [password_of(settings.database_url), password_of(settings.redis_url)]
    for place, found in {"answers": told, "log": logged, "tasks": tasks, "store": stored}.items():
        for secret in (*keys, *passwords):
            # Beside the path that a caller has put it in, which the answer to them alone repeats.
            assert secret not in found, (place, keys.index(secret) if secret in keys else "url")
    assert CONTENT in stored
    for found in (logged, tasks, api_metrics(answers)):
        assert CONTENT not in found


def api_metrics(answers: list[httpx.Response]) -> str:
    """The metrics among `answers`."""
    return "\n".join(each.text for each in answers if "http_requests_total" in each.text)


def test_a_wrong_password_is_not_shown_either(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    listen(caplog)

    def mistaken(url: str) -> str:
        place = urlsplit(url)
        user = place.username or ""
        return urlunsplit(place._replace(netloc=f"{user}:hunter2@{place.hostname}:{place.port}"))

    wrong = closed(
        settings,
        database_url=mistaken(settings.database_url),
        redis_url=mistaken(settings.redis_url),
        async_embeddings=True,
    )
    with serving(wrong) as api:
        headers = {"x-api-key": OPERATOR_KEY}
        answers = [
            api.get("/v1/admin/health"),
            api.get("/v1/admin/readiness"),
            api.get("/v1/jobs", headers=headers),
            api.get("/v1/jobs", headers={"x-api-key": MISTYPED}),
            api.post("/v1/messages", json=message(), headers=headers),
            api.get("/metrics"),
        ]
        assert [answer.status_code for answer in answers] == [503, 503, 503, 503, 503, 200]
    for found in (caplog.text, *map(said_by, answers)):
        assert "hunter2" not in found
        assert password_of(settings.database_url) not in found
    assert "not_ready" in caplog.text


def test_a_page_of_keys_holds_no_digest(settings: Settings) -> None:
    with serving(closed(settings)) as api:
        made = issue(api, "*", scopes=["read", "write", "admin"])
        page = api.get(KEYS, headers=sent(made)).json()["items"]
        assert {"key", "digest"}.isdisjoint(page[0])
