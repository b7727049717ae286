from collections.abc import Sequence
from concurrent.futures import Future
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from memory.embedding.mock import MockEmbedder
from memory.embedding.protocol import Purpose, Vectors
from memory.errors import EmbeddingUnavailableError
from tasks import embedding
from tasks.embedding import REMOTE_CLAIM_MESSAGES, claim, claim_size, embed_claimed
from tasks.models import Models
from tasks.resources import Resources
from tasks.storing import LOT_MESSAGES, Claimed, lots
from tests.tasks.test_embedding import MODEL, VECTORS, add_message, state


class FailsLater(MockEmbedder):
    """Embeds one lot, and then no more."""

    embedded = 0

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        if self.embedded:
            raise EmbeddingUnavailableError("no answer")
        self.embedded = len(texts)
        return super().embed(texts, purpose)


def test_a_lot_has_texts_of_much_the_same_length() -> None:
    claimed = [Claimed(uuid4(), "x" * (number * 7 % 50), 1) for number in range(50)]
    found = lots(claimed, MockEmbedder())
    lengths = [len(message.content) for lot in found for message in lot]
    assert lengths == sorted(len(message.content) for message in claimed)
    assert [len(lot) for lot in found] == [LOT_MESSAGES, 50 - LOT_MESSAGES]


def test_what_was_written_before_an_error_is_embedded(
    resources: Resources, owner: Connection
) -> None:
    short = [add_message(owner, content="short") for _ in range(LOT_MESSAGES)]
    long = add_message(owner, content="longer than that")
    claimed = claim(resources, "acme", [*short, long], False)
    resources.models.use(MODEL, FailsLater(dimensions=384))
    failure = embed_claimed(resources, "acme", claimed)
    assert failure is not None
    assert {state(owner, id_).status for id_ in short} == {"completed"}
    after = state(owner, long)
    assert (after.status, after.error) == ("pending", "no answer")


def test_what_could_not_be_indexed_stays_pending(
    resources: Resources, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no index")

    message_id = add_message(owner)
    claimed = claim(resources, "acme", [message_id], False)
    monkeypatch.setattr(embedding, "write_contexts", fail)
    assert embed_claimed(resources, "acme", claimed) is not None
    assert state(owner, message_id).status == "pending"
    assert owner.scalar(VECTORS, {"id": message_id}) == 0


def test_fewer_are_claimed_for_a_provider_over_the_network(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert claim_size(resources) > REMOTE_CLAIM_MESSAGES
    monkeypatch.setattr(Models, "remote", True)
    assert claim_size(resources) == REMOTE_CLAIM_MESSAGES


def test_what_is_done_beside_is_done_in_order_and_raises_there(resources: Resources) -> None:
    done: list[int] = []
    futures: list[Future[None]] = [resources.beside(done.append, number) for number in range(50)]
    failing = resources.beside(int, "no number")
    for each in futures:
        each.result()
    assert done == list(range(50))
    with pytest.raises(ValueError, match="no number"):
        failing.result()
