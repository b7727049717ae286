"""The outbox: who may embed what, and what becomes of it when something fails."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Connection, text

from memory.embedding.protocol import Purpose, Vectors
from memory.errors import EmbeddingRejectedError, EmbeddingUnavailableError
from tasks.embedding import CLAIM_CHARACTERS, CLAIM_MESSAGES, claim, embed_claimed
from tasks.resources import Resources
from tests.db.rows import add_message

ONE = text(
    "select embedding_status as status, embedding_attempts as attempts, embedding_error as error,"
    " claimed_until > now() as held, claimed_until - now() as wait"
    " from messages where id = :id"
)
# The id of the first model of a store.
MODEL = 1
VECTORS = text("select count(*) from message_embeddings where message_id = :id")


class Broken:
    """An embedder that fails as it is told."""

    model, dimensions = "mock", 384

    def __init__(self, error: Exception) -> None:
        self.error = error

    def split(self, text: str) -> list[str]:
        return [text]

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        raise self.error


def state(owner: Connection, message_id: UUID) -> Any:
    return owner.execute(ONE, {"id": message_id}).one()


def ids(claimed: Sequence[Any]) -> set[UUID]:
    return {message.id for message in claimed}


def test_a_claimed_message_is_embedded(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner)
    embed_claimed(resources, "acme", claim(resources, "acme", [message_id], False))
    assert state(owner, message_id).status == "completed"
    assert owner.scalar(VECTORS, {"id": message_id}) == 1


def test_what_is_claimed_is_left_alone(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner)
    assert ids(claim(resources, "acme", [message_id], False)) == {message_id}
    assert claim(resources, "acme", [message_id], False) == []
    assert claim(resources, "acme", [message_id], True) == []


def test_a_claim_that_ran_out_is_free_again_alone(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner, attempts=1, claimed_for=-1)
    assert claim(resources, "acme", [message_id], False) == []
    assert ids(claim(resources, "acme", [message_id], True)) == {message_id}


def test_an_earlier_failure_is_never_claimed_with_others(
    resources: Resources, owner: Connection
) -> None:
    failed = add_message(owner, attempts=1, claimed_for=-1)
    fresh = add_message(owner)
    assert ids(claim(resources, "acme", [failed, fresh], False)) == {fresh}


def test_a_claim_fills_up_with_what_waits_in_the_tenant(
    resources: Resources, owner: Connection
) -> None:
    named, waiting = add_message(owner), add_message(owner)
    other = add_message(owner, "globex")
    claimed = ids(claim(resources, "acme", [named], False))
    assert claimed == {named, waiting}
    assert other not in claimed


def test_a_claim_has_a_bounded_size(resources: Resources, owner: Connection) -> None:
    long = [add_message(owner, content="x" * (CLAIM_CHARACTERS // 2 + 1)) for _ in range(3)]
    assert ids(claim(resources, "acme", long, False)) == set(long[:2])
    short = [add_message(owner, "globex") for _ in range(CLAIM_MESSAGES + 5)]
    assert len(claim(resources, "globex", short[:1], False)) == CLAIM_MESSAGES


def test_a_message_of_the_greatest_length_is_claimed(
    resources: Resources, owner: Connection
) -> None:
    message_id = add_message(owner, content="x" * 100_000)
    assert ids(claim(resources, "acme", [message_id], False)) == {message_id}


def test_a_changed_message_keeps_no_vector_of_its_old_words(
    resources: Resources, owner: Connection
) -> None:
    message_id = add_message(owner)
    claimed = claim(resources, "acme", [message_id], False)
    owner.execute(text("update messages set content = 'new', content_version = 2"))
    embed_claimed(resources, "acme", claimed)
    assert state(owner, message_id).status == "pending"
    assert owner.scalar(VECTORS, {"id": message_id}) == 0


def test_a_deleted_message_leaves_nothing(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner)
    claimed = claim(resources, "acme", [message_id], False)
    owner.execute(text("delete from messages"))
    embed_claimed(resources, "acme", claimed)
    assert owner.scalar(VECTORS, {"id": message_id}) == 0


def test_embedding_twice_is_as_embedding_once(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner)
    claimed = claim(resources, "acme", [message_id], False)
    embed_claimed(resources, "acme", claimed)
    embed_claimed(resources, "acme", claimed)
    assert owner.scalar(VECTORS, {"id": message_id}) == 1


def test_a_provider_that_is_away_costs_an_attempt_and_a_wait(
    resources: Resources, owner: Connection
) -> None:
    message_id = add_message(owner)
    claimed = claim(resources, "acme", [message_id], False)
    resources.models.use(MODEL, Broken(EmbeddingUnavailableError("no answer")))
    embed_claimed(resources, "acme", claimed)
    after = state(owner, message_id)
    assert (after.status, after.attempts, after.error) == ("pending", 1, "no answer")
    assert 25 < after.wait.total_seconds() <= 30
    assert owner.scalar(VECTORS, {"id": message_id}) == 0


def test_the_last_attempt_that_fails_ends_it(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner, attempts=4)
    claimed = claim(resources, "acme", [message_id], True)
    resources.models.use(MODEL, Broken(EmbeddingUnavailableError("no answer")))
    embed_claimed(resources, "acme", claimed)
    assert state(owner, message_id).status == "failed"
    assert claim(resources, "acme", [message_id], True) == []


def test_a_refused_text_fails_alone_and_at_once(resources: Resources, owner: Connection) -> None:
    refused, beside = add_message(owner), add_message(owner)
    claimed = claim(resources, "acme", [refused, beside], False)
    resources.models.use(MODEL, Broken(EmbeddingRejectedError("too rude")))
    embed_claimed(resources, "acme", claimed)
    assert {state(owner, refused).status, state(owner, beside).status} == {"pending"}
    embed_claimed(resources, "acme", claim(resources, "acme", [refused], True))
    assert state(owner, refused).status == "failed"
    assert state(owner, beside).status == "pending"


def test_an_unforeseen_error_is_kept_without_its_words(
    resources: Resources, owner: Connection
) -> None:
    message_id = add_message(owner, content="my secret")
    claimed = claim(resources, "acme", [message_id], False)
    resources.models.use(MODEL, Broken(ValueError("cannot read: my secret")))
    embed_claimed(resources, "acme", claimed)
    assert state(owner, message_id).error == "ValueError"


def test_a_reason_that_quotes_the_message_stays_with_the_message(
    resources: Resources, owner: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    message_id = add_message(owner, content="I fear peanuts in the dark")
    claimed = claim(resources, "acme", [message_id], False)
    refused = EmbeddingRejectedError("OpenAI answered 422", "PEANUTS, in the dark, are too sad")
    resources.models.use(MODEL, Broken(refused))
    failure = embed_claimed(resources, "acme", claimed)
    assert str(failure) == "given up: OpenAI answered 422"
    assert state(owner, message_id).error == refused.in_full
    (line,) = [each.getMessage() for each in caplog.records if each.name == "tasks.embedding"]
    assert "embedding_failed" in line
    assert "peanuts" not in line.lower()


def test_what_is_done_or_gone_is_no_failure(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner)
    claimed = claim(resources, "acme", [message_id], False)
    assert embed_claimed(resources, "acme", claimed) is None
    assert embed_claimed(resources, "acme", []) is None


def test_a_long_message_has_a_vector_a_part(resources: Resources, owner: Connection) -> None:
    message_id = add_message(owner)

    class Halves(Broken):
        def split(self, text: str) -> list[str]:
            return [text[:2], text[2:]]

        def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
            return np.eye(384, dtype=np.float32)[: len(texts)]

    claimed = claim(resources, "acme", [message_id], False)
    resources.models.use(MODEL, Halves(ValueError()))
    embed_claimed(resources, "acme", claimed)
    assert owner.scalar(VECTORS, {"id": message_id}) == 2


@pytest.mark.parametrize("wrapped", [False, True])
def test_messages_are_free_again_when_the_tasks_time_is_up(
    resources: Resources, owner: Connection, wrapped: bool
) -> None:
    id_ = add_message(owner)
    error: Exception = SoftTimeLimitExceeded()
    if wrapped:
        late, error = error, RuntimeError("connection is closed")
        error.__cause__ = late
    resources.models.use(MODEL, Broken(error))
    claimed = claim(resources, "acme", [id_], alone=False)
    with pytest.raises(type(error)):
        embed_claimed(resources, "acme", claimed)
    row = owner.execute(text("select embedding_status, embedding_error from messages")).one()
    assert tuple(row) == ("pending", type(error).__name__)
