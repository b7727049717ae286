"""What workers and beat say of their work, with all that they can say, holds no secret."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from memory.settings import Settings
from tests.conftest import message, serving
from tests.processes import wait_until
from tests.workers import celery_process

CONTENT = "the vault stands open at noon"
OPERATOR_KEY = "operator-of-the-house"
SAID = {"worker": ("worker", "-Q", "embeddings,maintenance"), "beat": ("beat",)}


@pytest.mark.parametrize("part", SAID)
def test_what_is_secret_is_not_logged(settings: Settings, tmp_path: Path, part: str) -> None:
    talkative = msgspec.structs.replace(
        settings, api_keys=OPERATOR_KEY, log_level="DEBUG", sql_echo=True
    )
    process = celery_process(talkative, tmp_path, part, *SAID[part])
    try:
        with serving(talkative) as api:
            api.headers["x-api-key"] = OPERATOR_KEY
            id_ = api.post("/v1/messages", json=message(content=CONTENT)).json()["id"]

            def done() -> bool:
                told = process.logs()
                return "sweep_pending" in told if part == "beat" else embedded(api, id_)

            wait_until(done, "it has worked")
    finally:
        process.teardown()
    said = process.logs()
    assert "DEBUG" in said or '"level": "debug"' in said
    passwords = [urlsplit(url).password for url in (settings.database_url, settings.redis_url)]
    for secret in (*passwords, OPERATOR_KEY, CONTENT):
        assert secret
        assert secret not in said


def embedded(api: httpx.Client, message_id: str) -> bool:
    """Whether a message has its vector."""
    found = api.get(f"/v1/messages/{message_id}", params={"tenant_id": "acme"}).json()
    return bool(found["embedding_status"] == "completed")
