"""The store's models over REST: which they are, moving to another, dropping an old one."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, text

from memory.settings import Settings
from tasks.moving import migrate_step
from tasks.resources import Resources
from tests.api.answers import assert_problem
from tests.tasks.moves import SMALLER, begin, go_to, held, move

PATH = "/v1/admin/embeddings"
LONG_AGO = text("update embedding_models set activated_at = now() - interval '31 s' where active")


@pytest.fixture
def resources(settings: Settings) -> Iterator[Resources]:
    """What a worker has."""
    resources = Resources(settings)
    yield resources
    resources.close()


def models(api: httpx.Client) -> list[tuple[str, int, str]]:
    """Each model with its state."""
    items = api.get(PATH).json()["items"]
    return [(item["name"], item["dimensions"], item["state"]) for item in items]


def migrate(api: httpx.Client, **body: Any) -> httpx.Response:
    return api.post(f"{PATH}/migrate", json={"provider": "mock", **body})


def drop(api: httpx.Client, **body: Any) -> httpx.Response:
    return api.post(f"{PATH}/drop", json={"name": "mock", **body})


def test_a_new_store_has_the_configured_model(api: httpx.Client) -> None:
    (item,) = api.get(PATH).json()["items"]
    created, activated = item.pop("created_at"), item.pop("activated_at")
    assert created <= activated
    assert item == {
        "name": "mock",
        "dimensions": 384,
        "state": "active",
        "provider": "mock",
        "setting": "",
    }


def test_a_move_is_a_job(api: httpx.Client, resources: Resources) -> None:
    answer = migrate(api, dimensions=256)
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (job["kind"], job["state"], job["tenant_id"]) == ("embeddings_migrate", "queued", None)
    assert job["arguments"] == {"provider": "mock", "model": "", "dimensions": 256}
    assert begin(resources) == begin(resources, SMALLER)
    runner = held(resources, begin(resources))
    states = []
    while migrate_step(resources, runner) is None:
        states.append(models(api)[-1])
    assert ("mock", 256, "inactive") in states
    assert ("mock", 256, "filling") in states
    assert models(api) == [("mock", 384, "inactive"), ("mock", 256, "active")]


def test_a_move_that_is_cancelled_fills_nothing(api: httpx.Client, resources: Resources) -> None:
    job_id = migrate(api, dimensions=256).json()["id"]
    go_to(resources, held(resources, UUID(job_id)), "fill")
    assert models(api)[-1] == ("mock", 256, "filling")
    assert api.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    assert models(api)[-1] == ("mock", 256, "inactive")


def test_a_second_wish_for_the_same_is_the_same_job(api: httpx.Client) -> None:
    first, second = migrate(api, dimensions=256), migrate(api, dimensions=256)
    assert first.json()["id"] == second.json()["id"]
    other = assert_problem(migrate(api, dimensions=8), 409, "conflict")
    assert first.json()["id"] in other["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"provider": "openai"}, "MEMORY_OPENAI_API_KEY is not set"),
        ({"provider": "onnx", "model": "other"}, "onnx provider has all-MiniLM-L6-v2 only"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimension": 256}, "dimension"),
    ],
)
def test_what_cannot_be_moved_to_is_said_at_once(
    api: httpx.Client, body: dict[str, Any], field: str
) -> None:
    assert field in assert_problem(migrate(api, **body), 400, "invalid-request")["detail"]
    assert models(api) == [("mock", 384, "active")]


def test_an_old_model_is_dropped_by_a_job(
    api: httpx.Client, resources: Resources, owner: Connection
) -> None:
    move(resources)
    too_soon = assert_problem(drop(api, dimensions=384), 409, "conflict")
    assert "less than 30 s ago" in too_soon["detail"]
    owner.execute(LONG_AGO)
    answer = drop(api, dimensions=384)
    assert (answer.status_code, answer.json()["kind"]) == (202, "embeddings_drop")
    assert answer.json()["arguments"] == {"model_id": 1, "model": "mock", "dimensions": 384}
    assert_problem(migrate(api, dimensions=384), 409, "conflict")


def test_only_a_known_model_can_be_dropped(api: httpx.Client, resources: Resources) -> None:
    assert "is the active model" in assert_problem(drop(api), 409, "conflict")["detail"]
    assert_problem(drop(api, name="other"), 400, "invalid-request")
    move(resources)
    several = assert_problem(drop(api), 400, "invalid-request")
    assert "there is mock with 384, 256" in several["detail"]
