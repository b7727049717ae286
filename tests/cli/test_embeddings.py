"""`aiml embeddings`: which models there are, moving to another and dropping an old one."""

from collections.abc import Iterator

import msgspec
import pytest
from click.testing import CliRunner, Result
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from cli.main import main
from memory.settings import Settings
from tasks.embedding import claim, embed_claimed
from tasks.resources import Resources
from tests.db.rows import add_message
from tests.memory.embedding import fake_api
from tests.tasks.moves import assert_moved, begin, dimensions_of, move
from tests.workers import environment

LONG_AGO = text("update embedding_models set activated_at = now() - interval '31 s' where active")


@pytest.fixture
def resources(settings: Settings, owner: Connection) -> Iterator[Resources]:
    """What a worker has, in a store with some messages."""
    resources = Resources(settings)
    resources.check_model()
    ids = [add_message(owner) for _ in range(30)]
    embed_claimed(resources, "acme", claim(resources, "acme", ids, False))
    yield resources
    resources.close()


def run(settings: Settings, *arguments: str) -> Result:
    """What `aiml embeddings` says."""
    command = ["embeddings", *arguments]
    return CliRunner().invoke(main, command, env=environment(settings), catch_exceptions=False)


def refused(settings: Settings, *arguments: str) -> str:
    """The one line that it refuses with."""
    result = run(settings, *arguments)
    assert result.exit_code == 2
    (line,) = (line for line in result.stderr.splitlines() if not line.startswith("Warning"))
    return line


def test_a_new_store_has_none(settings: Settings) -> None:
    assert run(settings).stdout.startswith("None yet")


def test_the_models_are_listed(settings: Settings, resources: Resources) -> None:
    move(resources)
    assert run(settings).stdout.splitlines() == [
        "inactive  mock (384 dimensions), provider mock",
        "active    mock (256 dimensions), provider mock",
    ]


def test_a_move_is_watched_to_its_end(
    settings: Settings, resources: Resources, worker: CeleryTestWorker, owner: Connection
) -> None:
    result = run(settings, "migrate", "mock", "--dimensions", "256")
    assert result.exit_code == 0, result.output
    assert (
        "Searches use mock (256 dimensions): 30 messages, 30 of them embedded anew in"
    ) in result.stdout
    assert_moved(owner)


def test_a_move_needs_no_worker(
    settings: Settings, resources: Resources, owner: Connection
) -> None:
    result = run(settings, "migrate", "mock", "--dimensions", "256", "--here")
    assert result.exit_code == 0, result.output
    assert_moved(owner)


def test_a_move_need_not_be_waited_for(settings: Settings, resources: Resources) -> None:
    said = run(settings, "migrate", "mock", "--dimensions", "256", "--no-wait").stdout
    assert said == f"Moving to mock (256 dimensions): job {begin(resources)}\n"


def test_an_old_model_is_dropped(
    settings: Settings, resources: Resources, owner: Connection
) -> None:
    message_id = owner.scalar(text("select id from messages limit 1"))
    move(resources)
    assert "less than 30 s ago" in refused(settings, "drop", "mock", "--dimensions", "384")
    owner.execute(LONG_AGO)
    result = run(settings, "drop", "mock", "--dimensions", "384", "--here")
    assert result.stdout.startswith("Dropped mock (384 dimensions): 30 vectors in")
    assert dimensions_of(owner, message_id) == [256]


def test_what_cannot_be_done_is_one_line(settings: Settings, resources: Resources) -> None:
    assert "'nobody' is none of onnx" in refused(settings, "migrate", "nobody")
    assert "MEMORY_OPENAI_API_KEY is not set" in refused(settings, "migrate", "openai")
    assert "is the active model" in refused(settings, "drop", "mock")
    assert "the store has no model other" in refused(settings, "drop", "other")
    job_id = begin(resources)
    assert str(job_id) in refused(settings, "migrate", "mock", "--dimensions", "8")


def test_a_move_that_fails_says_why(settings: Settings, resources: Resources) -> None:
    assert "dimensions: Expected" in refused(settings, "migrate", "mock", "--dimensions", "4001")
    with fake_api.serving() as provider:
        provider.answers = [fake_api.Answer(status=401)] * 9
        there = msgspec.structs.replace(settings, openai_base_url=provider.url)
        said = refused(there, "migrate", "openai", "--here")
    assert "Moving to openai: failed. OpenAI answered 401" in said


def test_the_way_is_open_from_a_model_that_cannot_be_had_any_more(
    settings: Settings, resources: Resources, owner: Connection
) -> None:
    remote = ["migrate", "openai", "--dimensions", "8"]
    with fake_api.serving() as provider:
        there = msgspec.structs.replace(settings, openai_base_url=provider.url)
        assert run(there, *remote, "--here").exit_code == 0
    # Neither key nor address is left, nor a broker; no worker would start.
    alone = msgspec.structs.replace(settings, redis_url="")
    result = run(alone, "migrate", "mock", "--dimensions", "256", "--here")
    assert result.exit_code == 0, result.output
    assert_moved(owner)
