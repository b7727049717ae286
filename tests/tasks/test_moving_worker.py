"""Workers and the store's model: they follow it, and end where they cannot have it."""

from pathlib import Path

import httpx
import msgspec
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.embedding.recipes import Recipe
from memory.settings import Settings
from tasks.resources import Resources
from tests.api.speaking import Speaker
from tests.memory.embedding import fake_api
from tests.processes import wait_until
from tests.tasks.moves import dimensions_of, move
from tests.workers import celery_process

EMBEDDED = text("select count(*) from messages where embedding_status = 'completed'")


def test_a_worker_that_runs_embeds_with_the_new_model(
    api: httpx.Client, worker: CeleryTestWorker, resources: Resources, owner: Connection
) -> None:
    speaker = Speaker(api, "acme")
    before = speaker.say("before")
    wait_until(lambda: owner.scalar(EMBEDDED) == 1, "it is embedded")
    move(resources)
    after = speaker.say("after")
    wait_until(lambda: owner.scalar(EMBEDDED) == 2, "it is embedded")
    assert dimensions_of(owner, before) == [256, 384]
    assert dimensions_of(owner, after) == [256]


def test_a_worker_works_with_the_stores_model_whatever_the_settings_name(
    api: httpx.Client, resources: Resources, owner: Connection, request: pytest.FixtureRequest
) -> None:
    move(resources)
    worker: CeleryTestWorker = request.getfixturevalue("worker")
    assert "settings_name_another_model" in worker.logs()
    message_id = Speaker(api, "acme").say("after")
    wait_until(lambda: owner.scalar(EMBEDDED) == 1, "it is embedded")
    assert dimensions_of(owner, message_id) == [256]


def test_a_worker_that_cannot_have_the_stores_model_ends(
    settings: Settings, resources: Resources, tmp_path: Path
) -> None:
    with fake_api.serving() as provider:
        there = Resources(msgspec.structs.replace(settings, openai_base_url=provider.url))
        move(there, Recipe(provider="openai", dimensions=fake_api.DIMENSIONS))
        there.close()
    worker = celery_process(settings, tmp_path, "refuses", "worker", "-Q", "embeddings")
    try:
        wait_until(lambda: worker.status == "exited", "the worker has ended")
        assert "worker_refuses_to_start" in worker.logs()
        assert "provider openai: MEMORY_OPENAI_API_KEY is not set" in worker.logs()
    finally:
        worker.teardown()
