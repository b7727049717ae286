"""What a store holds of a model that it has moved away from can be dropped."""

from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from db.models import all_models, index_state
from db.queries.jobs import CANCEL_JOB, RETRY_JOB
from memory.embedding.recipes import StoredModel
from tasks.dropping import drop_step, new_drop
from tasks.embedding import claim, embed_claimed
from tasks.jobs import start_job
from tasks.resources import Resources
from tests.db.rows import add_message
from tests.tasks.moves import (
    FIRST,
    FREE,
    SMALLER,
    assert_moved,
    begin,
    dimensions_of,
    ended,
    go_to,
    held,
    move,
)

OLD, NEW = 1, 2
LONG_AGO = text("update embedding_models set activated_at = now() - interval '31 s' where active")


@pytest.fixture
def message_id(resources: Resources, owner: Connection) -> UUID:
    """One of a few messages of a store that has moved a while ago."""
    for tenant_id in ("acme", "globex"):
        ids = [add_message(owner, tenant_id) for _ in range(5)]
        embed_claimed(resources, tenant_id, claim(resources, tenant_id, ids, False))
    move(resources)
    owner.execute(LONG_AGO)
    return ids[0]


def model(resources: Resources, model_id: int) -> StoredModel:
    """A model as the store knows it."""
    found = all_models(resources.settings.database_url)
    return next(each for each in found if each.id == model_id)


def begin_drop(resources: Resources, model_id: int = OLD) -> UUID:
    """The id of the job of a drop that nobody works on yet."""
    with resources.engine.begin() as connection:
        return start_job(connection, new_drop(model(resources, model_id), "test"))


def test_nothing_is_left_of_a_dropped_model(
    resources: Resources, owner: Connection, message_id: UUID
) -> None:
    assert dimensions_of(owner, message_id) == [256, 384]
    row = ended(resources, begin_drop(resources), drop_step)
    assert (row.state, row.result["vectors"], row.done, row.total) == ("completed", 10, 10, 10)
    assert dimensions_of(owner, message_id) == [256]
    assert index_state(resources.settings.database_url, OLD) == "missing"
    assert [each.id for each in all_models(resources.settings.database_url)] == [NEW]
    assert_moved(owner)


def test_the_way_back_to_a_dropped_model_is_a_new_move(
    resources: Resources, owner: Connection, message_id: UUID
) -> None:
    ended(resources, begin_drop(resources), drop_step)
    assert move(resources, FIRST)["embedded"] == 10
    assert_moved(owner, 384)


@pytest.mark.parametrize(
    ("model_id", "reason"),
    [(NEW, "is the active model"), (OLD, "was the active model until less than 30 s ago")],
)
def test_what_searches_may_use_stays(
    resources: Resources, owner: Connection, message_id: UUID, model_id: int, reason: str
) -> None:
    if model_id == OLD:
        owner.execute(text("update embedding_models set activated_at = now() where active"))
    row = ended(resources, begin_drop(resources, model_id), drop_step)
    assert row.state == "failed"
    assert reason in row.error
    assert dimensions_of(owner, message_id) == [256, 384]


def test_a_model_of_an_earlier_version_was_active_too(
    resources: Resources, owner: Connection
) -> None:
    owner.execute(text("update embedding_models set activated_at = null"))
    move(resources)
    assert "less than 30 s ago" in ended(resources, begin_drop(resources), drop_step).error


def test_a_half_filled_model_is_dropped_whole(resources: Resources, owner: Connection) -> None:
    ids = [add_message(owner) for _ in range(100)]
    while claimed := claim(resources, "acme", ids, False):
        embed_claimed(resources, "acme", claimed)
    job_id = begin(resources)
    job = held(resources, job_id)
    go_to(resources, job, "judge")
    owner.execute(CANCEL_JOB, {"tenant_id": "*", "id": job_id})
    assert ended(resources, begin_drop(resources, NEW), drop_step).result["vectors"] == 100
    assert [each.id for each in all_models(resources.settings.database_url)] == [OLD]
    late = add_message(owner)
    embed_claimed(resources, "acme", claim(resources, "acme", [late], False))
    assert dimensions_of(owner, late) == dimensions_of(owner, ids[0]) == [384]


def test_a_vector_that_was_on_its_way_is_dropped_too(
    resources: Resources, owner: Connection, message_id: UUID
) -> None:
    job_id = begin_drop(resources)
    go_to(resources, held(resources, job_id), "forget", drop_step)
    owner.execute(
        text("insert into message_embeddings values ('globex', :id, 1, 'content', 0, :vector)"),
        {"id": message_id, "vector": str([1] * 384)},
    )
    owner.execute(FREE)
    assert ended(resources, job_id, drop_step).result["vectors"] == 11
    assert dimensions_of(owner, message_id) == [256]


def test_a_drop_that_is_taken_up_again_when_the_model_is_in_use_does_nothing(
    resources: Resources, owner: Connection, message_id: UUID
) -> None:
    job_id = begin_drop(resources)
    go_to(resources, held(resources, job_id), "vectors", drop_step)
    owner.execute(CANCEL_JOB, {"tenant_id": "*", "id": job_id})
    move(resources, FIRST)
    owner.execute(RETRY_JOB, {"tenant_id": "*", "id": job_id})
    row = ended(resources, job_id, drop_step)
    assert row.state == "failed"
    assert "is the active model" in row.error
    assert_moved(owner, 384)
    assert index_state(resources.settings.database_url, OLD) == "valid"


def test_a_move_and_a_drop_are_not_at_work_together(resources: Resources, message_id: UUID) -> None:
    assert begin(resources, SMALLER) == begin_drop(resources)
