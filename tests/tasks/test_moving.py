"""A store moves to another embedding model, and loses no message over it."""

from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from db.models import index_state
from db.queries.jobs import CANCEL_JOB, RETRY_JOB
from db.queries.models import hnsw_index, index_name
from memory.embedding.recipes import Recipe
from memory.errors import EmbeddingRejectedError, EmbeddingUnavailableError
from memory.settings import Settings
from tasks.embedding import claim, embed_claimed
from tasks.jobs import work
from tasks.moving import migrate_step, turn_seconds
from tasks.resources import Resources
from tests.db.rows import add_message
from tests.memory.embedding import fake_api
from tests.tasks.moves import (
    ACTIVE,
    FILLING,
    FIRST,
    FREE,
    JOB,
    Meanwhile,
    Picky,
    assert_moved,
    begin,
    dimensions_of,
    ended,
    go_to,
    held,
    move,
)

# The ids of the first model of a store and of the second.
OLD, NEW = 1, 2
STATUS = text("select embedding_status, embedding_error from messages where id = :id")


ARCHIVE = text(
    "update messages set embedding_status = 'archived', archived_at = now() where id = :id"
)
NO_VECTORS = text("delete from message_embeddings where message_id = :id")
CHANGE = text(
    "update messages set content = 'new', content_version = 2, embedding_status = 'pending'"
    " where id = :id"
)
DELETE = text("delete from messages where id = :id")


def embed_all(resources: Resources, tenant_id: str, ids: list[UUID]) -> None:
    """Embed messages as a worker does."""
    while claimed := claim(resources, tenant_id, ids, False):
        embed_claimed(resources, tenant_id, claimed)


def embedded(
    resources: Resources, owner: Connection, count: int, tenant_id: str = "acme"
) -> list[UUID]:
    """New messages with their vectors."""
    ids = [add_message(owner, tenant_id, f"note {number}") for number in range(count)]
    embed_all(resources, tenant_id, ids)
    return ids


def test_every_message_has_a_vector_of_the_new_model(
    resources: Resources, owner: Connection
) -> None:
    for tenant_id, count in (("acme", 150), ("globex", 3), ("initech", 70)):
        embedded(resources, owner, count, tenant_id)
    result = move(resources)
    assert_moved(owner)
    assert result["messages"] == result["embedded"] == 223
    assert (result["model"], result["dimensions"], result["refused"]) == ("mock", 256, 0)
    assert result["seconds"] > 0
    assert index_state(resources.settings.database_url, NEW) == "valid"


def test_the_old_models_vectors_stay_and_the_way_back_is_short(
    resources: Resources, owner: Connection
) -> None:
    (message_id, *_) = embedded(resources, owner, 100)
    move(resources)
    assert dimensions_of(owner, message_id) == [256, 384]
    embedded(resources, owner, 5)
    result = move(resources, FIRST)
    assert_moved(owner, 384)
    assert (result["messages"], result["embedded"]) == (105, 5)


def test_a_move_to_the_active_model_has_nothing_to_do(
    resources: Resources, owner: Connection
) -> None:
    embedded(resources, owner, 3)
    assert move(resources, FIRST)["embedded"] == 0
    assert_moved(owner, 384)


def test_what_is_not_embedded_is_passed_by(resources: Resources, owner: Connection) -> None:
    archived, failed, pending = embedded(resources, owner, 3)
    change = text(
        "update messages set embedding_status = :status, archived_at = :at where id = :id"
    )
    owner.execute(change, {"status": "archived", "at": "2026-01-01", "id": archived})
    owner.execute(change, {"status": "failed", "at": None, "id": failed})
    owner.execute(change, {"status": "pending", "at": None, "id": pending})
    assert move(resources)["embedded"] == 0
    for message_id in (archived, failed, pending):
        assert dimensions_of(owner, message_id) == [384]
    embed_all(resources, "acme", [pending])
    assert_moved(owner)


def test_the_embedder_of_the_old_model_is_let_go(resources: Resources) -> None:
    loaded = vars(resources.models)["_embedders"]
    job = held(resources, begin(resources))
    assert loaded.keys() == {OLD}
    go_to(resources, job, "fill")
    for model in resources.models.wanted():
        resources.models.embedder(model)
    assert loaded.keys() == {OLD, NEW}
    go_to(resources, job, "switched")
    assert loaded.keys() <= {NEW}


def test_a_message_that_comes_meanwhile_gets_both(resources: Resources, owner: Connection) -> None:
    embedded(resources, owner, 10)
    job_id = begin(resources)
    go_to(resources, held(resources, job_id), "fill")
    (message_id,) = embedded(resources, owner, 1)
    assert dimensions_of(owner, message_id) == [256, 384]
    assert owner.scalar(ACTIVE) == 384
    owner.execute(FREE)
    assert ended(resources, job_id).result["messages"] == 11
    assert_moved(owner)


def test_a_message_that_is_being_embedded_when_a_move_begins_gets_both(
    resources: Resources, owner: Connection
) -> None:
    job = held(resources, begin(resources))
    resources.models.use(OLD, Meanwhile(384, lambda: go_to(resources, job, "fill")))
    (message_id,) = embedded(resources, owner, 1)
    assert owner.execute(STATUS, {"id": message_id}).one().embedding_status == "completed"
    assert dimensions_of(owner, message_id) == [256, 384]


def test_a_message_that_is_being_embedded_when_the_store_moves_is_moved_too(
    resources: Resources, owner: Connection, settings: Settings
) -> None:
    elsewhere = Resources(settings)
    resources.models.use(OLD, Meanwhile(384, lambda: move(elsewhere)))
    (message_id,) = embedded(resources, owner, 1)
    assert owner.execute(STATUS, {"id": message_id}).one().embedding_status == "completed"
    assert 256 in dimensions_of(owner, message_id)
    assert_moved(owner)
    elsewhere.close()


def test_what_is_archived_or_changed_meanwhile_gets_no_vector_of_what_it_was(
    resources: Resources, owner: Connection
) -> None:
    archived, changed, deleted, kept = embedded(resources, owner, 4)

    def happen() -> None:
        for statement, message_id in (
            (ARCHIVE, archived),
            (NO_VECTORS, archived),
            (CHANGE, changed),
            (DELETE, deleted),
        ):
            owner.execute(statement, {"id": message_id})

    job_id = begin(resources)
    go_to(resources, held(resources, job_id), "fill")
    resources.models.use(NEW, Meanwhile(256, happen))
    owner.execute(FREE)
    assert ended(resources, job_id).result["messages"] == 1
    found = {each: dimensions_of(owner, each) for each in (archived, changed, deleted, kept)}
    assert found == {archived: [], changed: [384], deleted: [], kept: [256, 384]}


def test_what_the_new_model_refuses_is_named_and_holds_nothing_up(
    resources: Resources, owner: Connection
) -> None:
    rude = [add_message(owner, content=f"rude {number}") for number in range(3)]
    embed_all(resources, "acme", rude)
    embedded(resources, owner, 100)
    job_id = begin(resources)
    go_to(resources, held(resources, job_id), "fill")
    refusal = EmbeddingRejectedError("mock answered 422", "too rude")
    resources.models.use(NEW, Picky(256, "rude", refusal))
    owner.execute(FREE)
    row = ended(resources, job_id)
    assert (row.state, row.result["embedded"], row.result["refused"]) == ("completed", 100, 3)
    assert row.result["refused_ids"] == [str(message_id) for message_id in rude]
    assert_moved(owner)
    for message_id in rude:
        status, error = owner.execute(STATUS, {"id": message_id}).one()
        assert (status, error) == ("failed", "mock answered 422: too rude")


def test_a_model_that_refuses_much_is_not_moved_to(resources: Resources, owner: Connection) -> None:
    ids = embedded(resources, owner, 100)
    job_id = begin(resources)
    go_to(resources, held(resources, job_id), "fill")
    resources.models.use(NEW, Picky(256, "1", EmbeddingRejectedError("no ones")))
    owner.execute(FREE)
    row = ended(resources, job_id)
    assert row.state == "failed"
    assert "mock refuses 19 of 100 messages" in row.error
    assert str(ids[1]) in row.error
    assert_still_the_old_one(resources, owner)


def assert_still_the_old_one(resources: Resources, owner: Connection) -> None:
    """Nothing of a move is left but vectors."""
    (message_id,) = embedded(resources, owner, 1)
    assert dimensions_of(owner, message_id) == [384]
    assert owner.scalar(ACTIVE) == 384
    assert owner.scalar(FILLING) == 0
    failed = text("select count(*) from messages where embedding_status = 'failed'")
    assert owner.scalar(failed) == 0


def test_a_new_model_that_is_away_takes_no_message_from_the_search(
    resources: Resources, owner: Connection
) -> None:
    job_id = begin(resources)
    go_to(resources, held(resources, job_id), "fill")
    resources.models.use(NEW, Picky(256, "", EmbeddingUnavailableError("away")))
    (message_id,) = embedded(resources, owner, 1)
    assert tuple(owner.execute(STATUS, {"id": message_id}).one()) == ("pending", "away")
    assert dimensions_of(owner, message_id) == [384]


def test_a_model_that_cannot_be_had_ends_the_move_before_it_begins(
    resources: Resources, owner: Connection
) -> None:
    row = ended(resources, begin(resources, Recipe(provider="openai")))
    assert row.state == "failed"
    assert "MEMORY_OPENAI_API_KEY is not set" in row.error
    assert owner.scalar(text("select count(*) from embedding_models")) == 1


def test_a_cancelled_move_ends_the_double_work_and_can_be_taken_up_again(
    resources: Resources, owner: Connection
) -> None:
    embedded(resources, owner, 100)
    job_id = begin(resources)
    job = held(resources, job_id)
    go_to(resources, job, "fill")
    assert migrate_step(resources, job) is None
    owner.execute(CANCEL_JOB, {"tenant_id": "*", "id": job_id})
    assert work(resources, "*", job_id, migrate_step).startswith("nothing to do")
    assert_still_the_old_one(resources, owner)
    owner.execute(RETRY_JOB, {"tenant_id": "*", "id": job_id})
    row = ended(resources, job_id)
    assert (row.state, row.result["messages"]) == ("completed", 101)
    assert_moved(owner)


def test_what_comes_between_the_end_of_a_move_and_its_second_beginning_is_moved_too(
    resources: Resources, owner: Connection
) -> None:
    """The walk had ended, and another move fills the model when it is taken up again."""
    embedded(resources, owner, 3, "zeta")
    first = begin(resources)
    job = held(resources, first)
    go_to(resources, job, "judge")
    migrate_step(resources, job)
    go_to(resources, job, "judge")
    assert (job.position["round"], job.position["filled"]) == (2, 0)
    owner.execute(CANCEL_JOB, {"tenant_id": "*", "id": first})
    (missed,) = embedded(resources, owner, 1)
    assert dimensions_of(owner, missed) == [384]
    second = begin(resources)
    go_to(resources, held(resources, second), "fill")
    owner.execute(CANCEL_JOB, {"tenant_id": "*", "id": second})
    owner.execute(RETRY_JOB, {"tenant_id": "*", "id": first})
    assert ended(resources, first).state == "completed"
    assert_moved(owner)


@pytest.mark.parametrize(("waited", "seconds"), [(0, 2), (7, 7), (300, 20)])
def test_a_turn_is_as_long_as_the_wait_for_it(
    resources: Resources, owner: Connection, waited: int, seconds: float
) -> None:
    job_id = begin(resources)
    owner.execute(
        text("update jobs set updated_at = now() - make_interval(secs => :waited)"),
        {"waited": waited},
    )
    assert turn_seconds(resources, job_id) == pytest.approx(seconds, abs=0.5)


def test_of_two_moves_at_once_there_is_one(resources: Resources) -> None:
    assert begin(resources) == begin(resources, Recipe(provider="mock", dimensions=8))


def test_a_slice_that_is_killed_leaves_nothing_half_done(
    resources: Resources, owner: Connection, settings: Settings
) -> None:
    embedded(resources, owner, 200)
    job_id = begin(resources)
    job = held(resources, job_id)
    go_to(resources, job, "fill")
    migrate_step(resources, job)
    migrate_step(resources, job)
    of_new = text("select count(*) from message_embeddings where model_id = 2")
    before = (owner.scalar(of_new), owner.execute(JOB, {"id": job_id}).one())
    assert 0 < before[0] < 200
    owner.execute(
        text("""
create function die() returns trigger language plpgsql security definer as
  'begin perform pg_terminate_backend(pg_backend_pid()); return new; end';
create trigger die before update on jobs for each row execute function die();
""")
    )
    with pytest.raises(OperationalError):
        migrate_step(resources, job)
    assert (owner.scalar(of_new), owner.execute(JOB, {"id": job_id}).one()) == before
    owner.execute(text("drop trigger die on jobs"))
    owner.execute(FREE)
    next_process = Resources(settings)
    row = ended(next_process, job_id)
    next_process.close()
    assert (row.result["embedded"], row.done, row.total) == (200, 200, 200)
    assert_moved(owner)


def test_an_index_that_was_left_half_built_is_built_anew(
    resources: Resources, owner: Connection
) -> None:
    job = held(resources, begin(resources))
    migrate_step(resources, job)
    owner.execute(hnsw_index(NEW, 256))
    broken = text("update pg_index set indisvalid = false where indexrelid = to_regclass(:name)")
    owner.execute(broken, {"name": index_name(NEW)})
    assert index_state(resources.settings.database_url, NEW) == "broken"
    go_to(resources, job, "fill")
    assert index_state(resources.settings.database_url, NEW) == "valid"


def test_a_long_build_of_the_index_is_looked_after(
    resources: Resources, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step waits for it; it goes on when the worker has another task."""
    monkeypatch.setattr("tasks.moving.INDEX_LOOK_SECONDS", 0.2)
    url = resources.settings.database_url
    job = held(resources, begin(resources))
    migrate_step(resources, job)
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as another:
        # What is built concurrently waits for who may still write without knowing of it.
        another.execute(text("lock table message_embeddings in row exclusive mode"))
        for _ in range(3):
            assert migrate_step(resources, job) is None
            assert job.position["phase"] == "index"
        assert (index_state(url, NEW), job.position["builds"]) == ("building", 1)
    go_to(resources, job, "fill")
    assert index_state(url, NEW) == "valid"


def test_a_model_that_the_reranker_could_not_read_with_is_not_moved_to(
    settings: Settings, owner: Connection
) -> None:
    with fake_api.serving() as provider:
        reading = Resources(
            msgspec.structs.replace(
                settings, reranker="late_interaction", openai_base_url=provider.url
            )
        )
        reading.check_model()
        row = ended(reading, begin(reading, Recipe(provider="openai", dimensions=8)))
        reading.close()
    assert row.state == "failed"
    assert "MEMORY_RERANKER=late_interaction needs" in row.error
    assert owner.scalar(text("select count(*) from embedding_models")) == 1


def test_a_store_without_a_model_has_nothing_to_move_from(settings: Settings) -> None:
    new = Resources(settings)
    row = ended(new, begin(new))
    new.close()
    assert (row.state, row.error[:30]) == ("failed", "The store has no model yet: th")
