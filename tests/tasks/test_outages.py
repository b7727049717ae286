"""What an outage of the provider costs: of a message one attempt, however long it is."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from celery import Celery
from sqlalchemy import Connection, text

from memory.embedding.breaker import OPEN, Caution
from memory.embedding.openai import OpenAIEmbedder
from memory.embedding.recipes import Recipe
from memory.embedding.retrying import Patience
from memory.errors import JobStepError, NotEmbeddedError
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.periodic import Turn, embed_pending, work_on_jobs
from tasks.resources import Resources
from tests.db.rows import add_message
from tests.memory.embedding import fake_api
from tests.memory.embedding.clocks import Clock
from tests.memory.embedding.fake_api import Answer, FakeApi
from tests.tasks.moves import FREE, begin, go_to, held

MODEL = "text-embedding-3-small"
# One try a claim, as a silent provider gets: five claims until it is left alone.
ONCE = Patience(budget=0, timeout=5)
QUICK = Patience(budget=60, timeout=5, first_wait=0.001, longest_wait=0.001)
AWAY = [Answer(503)] * 10_000
ALL = text("""
select embedding_status as status, embedding_attempts as attempts, embedding_error as error
from messages order by id
""")
DUE = text("update messages set claimed_until = null")
JOB = text("select state, attempts, error from jobs")
VECTORS = text("select count(distinct message_id) from message_embeddings where model_id = :id")


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with fake_api.serving() as provider:
        yield provider


class Process:
    """A worker process with a store whose vectors come from elsewhere, as Celery runs its tasks."""

    def __init__(self, settings: Settings, fake: FakeApi, clock: Clock) -> None:
        self.resources = Resources(settings)
        self._fake = fake
        self._caution = Caution(clock=clock)
        self._embedders: list[OpenAIEmbedder] = []
        self._app = Celery("test", set_as_current=False, task_cls="tasks.base:Task")
        self._app.conf.update(celery_configuration(settings))
        self._app.resources = self.resources

    def embeds_with(self, model_id: int, patience: Patience) -> OpenAIEmbedder:
        """Have it embed with the fake."""
        embedder = OpenAIEmbedder(
            "a-key",
            MODEL,
            fake_api.DIMENSIONS,
            self._fake.url,
            document_patience=patience,
            caution=self._caution,
        )
        self.resources.models.use(model_id, embedder)
        self._embedders.append(embedder)
        return embedder

    def run(self, task: str, *arguments: Any) -> str:
        """What the task says."""
        said: str = self._app.tasks[task](*arguments)
        return said

    def embed(self, *ids: UUID, alone: bool = False) -> str:
        """What the task that embeds messages of one tenant says."""
        return self.run("embed_messages", {"acme": [str(id_) for id_ in ids]}, alone)

    def close(self) -> None:
        for embedder in self._embedders:
            embedder.close()
        self.resources.close()
        self._app.close()


Start = Callable[..., Process]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def remote_settings(settings: Settings, fake: FakeApi) -> Settings:
    return msgspec.structs.replace(
        settings,
        embedding_provider="openai",
        embedding_model_name=MODEL,
        embedding_dimensions=fake_api.DIMENSIONS,
        openai_base_url=fake.url,
        openai_api_key="a-key",
    )


@pytest.fixture
def start(remote_settings: Settings, fake: FakeApi, clock: Clock) -> Iterator[Start]:
    """Starts a process of a worker."""
    started: list[Process] = []

    def one(patience: Patience = QUICK) -> Process:
        process = Process(remote_settings, fake, clock)
        started.append(process)
        process.embeds_with(process.resources.models.active().id, patience)
        return process

    yield one
    for process in started:
        process.close()


def rows(owner: Connection) -> list[tuple[str, int]]:
    return [(row.status, row.attempts) for row in owner.execute(ALL)]


def say_that_it_is_away(process: Process, *ids: UUID, alone: bool = False) -> str:
    with pytest.raises(NotEmbeddedError) as raised:
        process.embed(*ids, alone=alone)
    return str(raised.value)


def test_while_the_provider_is_left_alone_nothing_is_claimed(
    start: Start, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    process = start()
    first = add_message(owner)
    fake.answers = AWAY[:]
    assert "acme: 1 put off: OpenAI answered 503" in say_that_it_is_away(process, first)
    later = [add_message(owner) for _ in range(3)]
    clock.now += 18
    said = say_that_it_is_away(process, *later)
    assert said == (
        "acme: 3 left pending: OpenAI is left alone for 12 s: it failed 5 times in a row"
    )
    assert rows(owner) == [("pending", 1)] + [("pending", 0)] * 3
    assert len(fake.requests) == 5


@pytest.mark.parametrize("patience", [QUICK, ONCE])
@pytest.mark.parametrize("processes", [1, 7])
def test_a_long_outage_costs_a_message_one_attempt(
    start: Start,
    fake: FakeApi,
    clock: Clock,
    owner: Connection,
    patience: Patience,
    processes: int,
) -> None:
    workers = [start(patience) for _ in range(processes)]
    ids = [add_message(owner, content=f"text {number}") for number in range(3)]
    fake.answers = AWAY[:]
    say_that_it_is_away(workers[0], *ids)
    # The sweep sends them again and again, to whichever process takes them.
    for _ in range(8):
        for worker in workers:
            clock.now += 31
            owner.execute(DUE)
            for id_ in ids:
                say_that_it_is_away(worker, id_, alone=True)
    assert rows(owner) == [("pending", 1)] * 3
    fake.answers = []
    clock.now += 31
    for id_ in ids:
        assert workers[-1].embed(id_, alone=True) == "acme: 1 embedded"
    assert rows(owner) == [("completed", 2)] * 3


def test_new_messages_cost_it_no_attempt_once_a_try_has_failed(
    start: Start, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    process = start(ONCE)
    fake.answers = AWAY[:]
    say_that_it_is_away(process, add_message(owner))
    for _ in range(6):
        id_ = add_message(owner)
        say_that_it_is_away(process, id_)
        clock.now += 31
    assert rows(owner) == [("pending", 1)] + [("pending", 0)] * 6


def test_a_message_that_no_provider_can_embed_fails_in_the_end(
    start: Start, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    process = start(ONCE)
    (poison,) = [add_message(owner, content="poison")]
    for attempt in range(5):
        owner.execute(DUE)
        # It answers a word, and this message never.
        fake.answers = [Answer(), Answer(503)] if attempt else [Answer(503)]
        say_that_it_is_away(process, poison, alone=attempt > 0)
        clock.now += 31
    assert rows(owner) == [("failed", 5)]


def test_without_a_worker_it_is_the_same(
    start: Start, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    process = start()
    for _ in range(3):
        add_message(owner)
    fake.answers = AWAY[:]
    for _ in range(10):
        owner.execute(DUE)
        clock.now += 31
        embed_pending(process.resources, Turn(60, lambda: False))
    assert rows(owner) == [("pending", 1)] * 3
    fake.answers = []
    clock.now += 31
    assert embed_pending(process.resources, Turn(60, lambda: False))
    assert rows(owner) == [("completed", 2)] * 3


@pytest.fixture
def moving(settings: Settings, fake: FakeApi, clock: Clock, owner: Connection) -> Iterator[Process]:
    """A process of a store that moves from the quick model to the fake's."""
    reachable = msgspec.structs.replace(settings, openai_base_url=fake.url, openai_api_key="a-key")
    process = Process(reachable, fake, clock)
    process.resources.check_model()
    first = add_message(owner)
    assert process.embed(first) == "acme: 1 embedded"
    recipe = Recipe(provider="openai", model=MODEL, dimensions=fake_api.DIMENSIONS)
    job_id = begin(process.resources, recipe)
    job = held(process.resources, job_id)
    go_to(process.resources, job, "fill")
    owner.execute(FREE)
    process.embeds_with(job.position["model_id"], QUICK)
    yield process
    process.close()


def test_a_move_waits_for_its_provider_and_has_its_tries_after_that(
    moving: Process, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    job_id = str(owner.scalar(text("select id from jobs")))
    fake.answers = AWAY[:]
    for _ in range(12):
        with pytest.raises(JobStepError, match="put off: OpenAI"):
            moving.run("migrate_embeddings", "*", job_id)
        assert work_on_jobs(moving.resources, Turn(60, lambda: False)) is False
        owner.execute(FREE)
        clock.now += 31
    state, attempts, _ = owner.execute(JOB).one()
    assert (state, attempts) == ("running", 1)
    fake.answers = []
    clock.now += 31
    assert moving.run("migrate_embeddings", "*", job_id).startswith("completed")


def test_a_provider_that_fails_within_a_turn_costs_the_job_no_more_than_that_try(
    moving: Process, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    job_id = str(owner.scalar(text("select id from jobs")))
    for _ in range(8):
        fake.answers = [Answer(), *AWAY] if not fake.requests[1:] else AWAY[:]
        with pytest.raises(JobStepError, match="put off: OpenAI"):
            moving.run("migrate_embeddings", "*", job_id)
        owner.execute(FREE)
        clock.now += 31
    state, attempts, error = owner.execute(JOB).one()
    assert (state, attempts) == ("running", 1)
    assert "OpenAI answered 503" in error


def test_new_messages_have_the_old_models_vectors_while_the_new_one_is_away(
    moving: Process, fake: FakeApi, clock: Clock, owner: Connection
) -> None:
    (new,) = [model for model in moving.resources.models.wanted() if model.filling]
    fake.answers = AWAY[:]
    ids = []
    for _ in range(2):
        ids.append(add_message(owner))
        say_that_it_is_away(moving, ids[-1])
    embedder = moving.resources.models.embedder(new)
    assert isinstance(embedder, OpenAIEmbedder)
    assert embedder.breaker_state == OPEN
    assert owner.scalar(VECTORS, {"id": 1}) == 3
    for _ in range(8):
        owner.execute(DUE)
        clock.now += 31
        for id_ in ids:
            say_that_it_is_away(moving, id_, alone=True)
    assert rows(owner) == [("completed", 1)] + [("pending", 1)] * 2
