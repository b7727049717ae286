"""A worker whose processes take long to start, as when the provider is slow, comes to work."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from memory.settings import Settings
from tests.memory.embedding import fake_api
from tests.memory.embedding.fake_api import Answer, FakeApi
from tests.processes import ProcessContainer, wait_until
from tests.workers import celery_process

# What Celery itself waits for a process of the pool is four.
SLOW_SECONDS = 6


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with fake_api.serving() as provider:
        provider.answers = [Answer(silent=SLOW_SECONDS)] * 100
        yield provider


@pytest.fixture
def slow(settings: Settings, fake: FakeApi, tmp_path: Path) -> Iterator[ProcessContainer]:
    remote = msgspec.structs.replace(
        settings,
        embedding_provider="openai",
        embedding_dimensions=fake_api.DIMENSIONS,
        openai_base_url=fake.url,
        openai_api_key="a-key",
    )
    container = celery_process(remote, tmp_path, "slow", "worker", "-Q", "embeddings")
    yield container
    container.teardown()


def test_a_process_that_waits_for_a_slow_provider_is_not_killed(slow: ProcessContainer) -> None:
    wait_until(lambda: "worker_ready" in slow.logs(), "its process is warm", 60)
    # Celery has an eye on those that take the place of one that died.
    slow.kill_children()
    wait_until(lambda: slow.logs().count("worker_ready") == 2, "the next one is warm", 60)
    assert "Timed out waiting for UP message" not in slow.logs()
