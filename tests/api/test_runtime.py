"""When the API must not start, and what a person sees then."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, text

from api.app import create_app
from api.metrics import Metrics
from api.runtime import Runtime
from memory.errors import ModelMismatchError
from memory.settings import Settings, variable
from tests.conftest import serving

ROOT = Path(__file__).parent.parent.parent
SERVE = """
from api.server import serve
from memory.settings import load_settings
serve(load_settings())
"""
OTHER_MODEL = text(
    "insert into embedding_models (name, dimensions, active) values ('other', 5, true)"
)


def served(settings: Settings) -> subprocess.CompletedProcess[str]:
    """A process that serves the API and is expected to refuse."""
    values = msgspec.structs.asdict(settings).items()
    environment = {variable(name): str(value) for name, value in values if value is not None}
    return subprocess.run(
        [sys.executable, "-c", SERVE],
        env={**environment, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_store_of_another_model_is_refused(settings: Settings, owner: Connection) -> None:
    owner.execute(OTHER_MODEL)
    with pytest.raises(ModelMismatchError, match="holds vectors of other"):
        async with Runtime(settings, Metrics()).running():
            pass


def test_a_person_sees_one_line_that_says_what_to_do(settings: Settings, owner: Connection) -> None:
    owner.execute(OTHER_MODEL)
    refused = served(msgspec.structs.replace(settings, api_port=0))
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    lines = [json.loads(line) for line in refused.stderr.splitlines()]
    (reason,) = (line["event"] for line in lines if "holds vectors" in line["event"])
    assert "holds vectors of other (5 dimensions)" in reason
    assert "mock (384)" in reason
    assert "MEMORY_EMBEDDING_PROVIDER" in reason
    assert "\n" not in reason


def test_a_missing_key_of_a_provider_is_one_line_too(settings: Settings) -> None:
    refused = served(msgspec.structs.replace(settings, embedding_provider="openai", api_port=0))
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert "MEMORY_OPENAI_API_KEY is not set" in refused.stderr


def test_a_port_that_is_taken_is_one_line(settings: Settings) -> None:
    with serving(settings) as api:
        refused = served(msgspec.structs.replace(settings, api_port=api.base_url.port))
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert "address already in use" in refused.stderr


def test_the_same_model_starts_again(settings: Settings) -> None:
    for _ in range(2):
        with serving(settings) as api:
            assert api.get("/v1/admin/readiness").status_code == 200


def test_an_application_needs_no_server_to_be_made(settings: Settings) -> None:
    nowhere = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    assert create_app(msgspec.structs.replace(settings, database_url=nowhere))
