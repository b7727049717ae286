"""Workers that are told to stop in the middle of their work: it is finished, or left to another."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Connection, text

from memory.settings import Settings
from tasks import embedding, ending
from tasks.jobs import GOES_ON, NewJob, start_job, work
from tasks.resources import Resources
from tests.conftest import message, serving
from tests.db.rows import add_message
from tests.memory.embedding import fake_api
from tests.memory.embedding.fake_api import Answer, FakeApi
from tests.processes import ProcessContainer, wait_until
from tests.workers import celery_process

ROWS = text("select embedding_status, embedding_attempts, claimed_until from messages")
Start = Callable[..., ProcessContainer]


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with fake_api.serving() as provider:
        yield provider


@pytest.fixture
def another() -> Iterator[FakeApi]:
    """The provider of another worker, which answers."""
    with fake_api.serving() as provider:
        yield provider


@pytest.fixture
def slow_settings(settings: Settings, fake: FakeApi) -> Settings:
    """Settings of a service whose provider is the fake, which takes the time that it is told."""
    return msgspec.structs.replace(
        settings,
        embedding_provider="openai",
        openai_api_key="key",
        embedding_dimensions=fake_api.DIMENSIONS,
        openai_base_url=fake.url,
    )


@pytest.fixture
def start(slow_settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker with settings of its own, and waits until its model is loaded."""
    begun: list[ProcessContainer] = []

    def begin(name: str, **changed: Any) -> ProcessContainer:
        given = msgspec.structs.replace(slow_settings, **changed)
        arguments = ("worker", "-Q", "embeddings,maintenance", "-n", f"{name}@%h")
        worker = celery_process(given, tmp_path, name, *arguments)
        begun.append(worker)
        wait_until(lambda: "worker_ready" in worker.logs(), "the worker's child is ready")
        wait_until(lambda: " ready." in worker.logs(), "the worker is ready")
        return worker

    yield begin
    for worker in begun:
        worker.teardown()


@pytest.fixture
def api(slow_settings: Settings) -> Iterator[httpx.Client]:
    with serving(slow_settings) as client:
        yield client


def post(api: httpx.Client, count: int) -> None:
    body = {"messages": [message(content=f"text {n}") for n in range(count)]}
    assert api.post("/v1/messages/batch", json=body).status_code == 202


def rows(owner: Connection) -> set[tuple[Any, ...]]:
    """What there is of status, attempts and claim."""
    return {tuple(row) for row in owner.execute(ROWS)}


DONE = {("completed", 1, None)}


def asked(fake: FakeApi) -> list[str]:
    """The texts of the messages that were to be embedded, in all requests."""
    return [t for request in fake.requests for t in request.texts if t.startswith("text")]


def test_what_is_at_hand_is_finished(
    start: Start, api: httpx.Client, fake: FakeApi, owner: Connection
) -> None:
    worker = start("first")
    fake.answers = [Answer(silent=1.0)]
    post(api, 3)
    wait_until(lambda: asked(fake), "it is embedding")
    worker.kill(signal.SIGTERM)
    assert worker.process.returncode == 0
    assert rows(owner) == DONE
    assert len(asked(fake)) == 3


def test_what_takes_too_long_is_done_by_another_at_once(
    start: Start, api: httpx.Client, fake: FakeApi, another: FakeApi, owner: Connection
) -> None:
    first = start("first", worker_stop_seconds=0.5)
    # However often it is asked: one that is asked again would answer the first itself.
    fake.answers = [Answer(silent=60)] * 100
    post(api, 3)
    wait_until(lambda: asked(fake), "it is embedding")
    start("second", openai_base_url=another.url)
    first.process.send_signal(signal.SIGTERM)
    # Its claim would have held for a minute, the provider for as long, and the task for two.
    # With its attempt spent, they would have waited for the sweep, and nothing sweeps here.
    wait_until(lambda: rows(owner) == DONE, "the second has embedded them")
    wait_until(lambda: first.status == "exited", "the first has ended")
    assert first.process.returncode == 0
    assert "tasks_killed" not in first.logs()
    assert len(asked(fake)) == len(asked(another)) == 3


def test_of_many_batches_the_rest_is_left_to_another(
    start: Start, slow_settings: Settings, api: httpx.Client, fake: FakeApi, owner: Connection
) -> None:
    first = start("first")
    fake.answers = [Answer(silent=0.3)] * 3
    post(api, 256)
    wait_until(lambda: len(asked(fake)) > 0, "it has begun")
    first.kill(signal.SIGTERM)
    assert first.process.returncode == 0
    left = rows(owner)
    assert ("pending", 0, None) in left
    assert left <= DONE | {("pending", 0, None)}
    with redis.Redis.from_url(slow_settings.redis_url) as broker:
        assert broker.llen("embeddings") == 1
    start("second")
    wait_until(lambda: rows(owner) == DONE, "the second has embedded the rest")
    assert len(asked(fake)) == 256


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is as one of a worker that was told to end."""
    monkeypatch.setattr(ending, "TOLD", b"\1")


def interrupted(*_: Any) -> None:
    raise SoftTimeLimitExceeded


@pytest.fixture
def tell() -> Iterator[Callable[[], None]]:
    """Interrupts this process as one of a worker."""
    before = signal.signal(ending.INTERRUPT, interrupted)
    yield lambda: os.kill(os.getpid(), ending.INTERRUPT)
    signal.signal(ending.INTERRUPT, before)


def test_what_is_given_back_is_not_interrupted_again(
    resources: Resources,
    owner: Connection,
    told: None,
    tell: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    id_ = add_message(owner)
    claimed = embedding.claim(resources, "acme", [id_], alone=False)
    real = embedding.give_back

    def slowly(*given: Any) -> None:
        tell()
        real(*given)

    monkeypatch.setattr(embedding, "embed_or_release", lambda *_: tell())
    monkeypatch.setattr(embedding, "give_back", slowly)
    with pytest.raises(SoftTimeLimitExceeded):
        embedding.embed_claimed(resources, "acme", claimed)
    assert rows(owner) == {("pending", 0, None)}
    with pytest.raises(SoftTimeLimitExceeded):
        tell()


@pytest.mark.parametrize("step", [lambda *_: None, interrupted])
def test_a_job_is_left_to_the_next_and_has_its_attempts(
    settings: Settings, owner: Connection, told: None, step: Any
) -> None:
    resources = Resources(settings)
    with resources.engine.begin() as connection:
        job: UUID = start_job(connection, NewJob("rescore", "acme", {}, "a test"))
    try:
        for _ in range(7):
            assert work(resources, "acme", job, step) == f"{GOES_ON}0"
    finally:
        resources.close()
    found = owner.execute(text("select state, attempts, lease_until, error from jobs")).one()
    assert tuple(found) == ("running", 0, None, None)
