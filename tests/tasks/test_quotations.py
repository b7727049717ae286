"""A provider that quotes a message in its errors: its words are in the message's row alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from celery import Celery
from sqlalchemy import Connection, text

from memory.settings import Settings
from tasks.configuration import celery_configuration
from tests.conftest import message, serving
from tests.memory.embedding import fake_api
from tests.memory.embedding.fake_api import Answer, FakeApi
from tests.memory.embedding.quotations import FORMS, TEXT, WORDS, quoted_in, quoting
from tests.processes import ProcessContainer, wait_until
from tests.workers import celery_process

ERROR = text("select embedding_error from messages where id = :id")
JOB_ERROR = text("select error from jobs")
QUEUES = ("-Q", "embeddings,maintenance", "--concurrency", "1")


@pytest.fixture
def provider() -> Iterator[FakeApi]:
    with fake_api.serving() as api:
        yield api


@pytest.fixture
def settings(settings: Settings, provider: FakeApi) -> Settings:
    """Of a service that says all it can, and whose vectors come from the fake."""
    return msgspec.structs.replace(
        settings,
        log_level="DEBUG",
        embedding_provider="openai",
        embedding_dimensions=fake_api.DIMENSIONS,
        openai_base_url=provider.url,
        openai_api_key="a-key",
    )


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[ProcessContainer]:
    """One process that embeds, and moves."""
    process = celery_process(settings, tmp_path, "worker", "worker", *QUEUES)
    try:
        wait_until(lambda: "worker_ready" in process.logs(), "the worker is ready")
        yield process
    finally:
        process.teardown()


@contextmanager
def events(settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """What the worker tells Flower meanwhile."""
    heard: list[dict[str, Any]] = []
    ending = threading.Event()

    def listen() -> None:
        with Celery("memory-test", set_as_current=False) as app:
            app.conf.update(celery_configuration(settings))
            with app.connection_for_read() as connection:
                receiver = app.events.Receiver(connection, handlers={"*": heard.append})
                while not ending.is_set():
                    try:
                        receiver.capture(timeout=0.2, wakeup=False)
                    except TimeoutError:
                        continue

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield heard
    finally:
        ending.set()
        listener.join()


def ends(heard: list[dict[str, Any]], task: str) -> list[dict[str, Any]]:
    """The failures of a task of that name."""
    ids = {event["uuid"] for event in heard if event.get("name") == task}
    return [each for each in heard if each["type"] == "task-failed" and each["uuid"] in ids]


def post(api: httpx.Client) -> str:
    answer = api.post("/v1/messages", json=message(content=TEXT))
    assert answer.status_code == 202
    return str(answer.json()["id"])


def test_neither_the_worker_nor_flower_has_its_words(
    settings: Settings, provider: FakeApi, worker: ProcessContainer, owner: Connection
) -> None:
    # After a failure the provider is asked with a word before it is sent a message.
    refusals = [[quoting(400, form)] for form in FORMS]
    refusals += [[quoting(422)], [quoting(429)], [Answer(), quoting(500)]]
    with serving(settings) as api, events(settings) as heard:
        wait_until(lambda: heard, "the worker's events are heard")
        for answers in refusals:
            provider.answers[:] = answers
            id_ = post(api)
            wait_until(partial(owner.scalar, ERROR, {"id": id_}), "its row says that it failed")
            assert quoted_in(owner.scalar(ERROR, {"id": id_})) == WORDS
        provider.answers[:] = [quoting(503)]
        post(api)
        failures = len(refusals) + 1
        wait_until(lambda: len(ends(heard, "embed_messages")) == failures, "all have failed")
    said = worker.logs()
    for follows in ("given up: OpenAI answered 400", "put off: OpenAI answered 500"):
        assert follows in said
        assert follows in str(heard)
    assert "left pending: OpenAI answered 503" in said
    assert '"level": "debug"' in said
    assert not quoted_in(said)
    assert not quoted_in(repr(heard))


def test_a_job_does_not_have_its_words(
    settings: Settings, provider: FakeApi, worker: ProcessContainer, owner: Connection
) -> None:
    new = {"provider": "openai", "model": "m", "dimensions": fake_api.DIMENSIONS}
    with serving(settings) as api, events(settings) as heard:
        wait_until(lambda: heard, "the worker's events are heard")
        provider.answers[:] = [quoting(500)]
        started = api.post("/v1/admin/embeddings/migrate", json=new)
        assert started.status_code == 202, started.text
        wait_until(lambda: ends(heard, "migrate_embeddings"), "its first step has failed")
        shown = api.get("/v1/jobs").text
    assert owner.scalar(JOB_ERROR) == "OpenAI answered 500"
    assert "OpenAI answered 500" in shown
    for place in (shown, worker.logs(), repr(heard)):
        assert not quoted_in(place)
