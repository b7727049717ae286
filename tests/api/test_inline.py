"""Embedding within the request: the API alone is a whole service."""

import httpx
from sqlalchemy import Connection, text

from tests.api.answers import found, row, stored
from tests.conftest import message


def test_embedded_within_the_request_it_is_found_at_once(
    inline: httpx.Client, owner: Connection
) -> None:
    answer = inline.post("/v1/messages", json=message(content="I live in Lisbon."))
    assert answer.status_code == 200
    assert answer.json()["embedding_status"] == "completed"
    assert row(owner, answer.json()["id"])["embedding_status"] == "completed"
    assert [item["message_id"] for item in found(inline, "Lisbon")] == [answer.json()["id"]]


def test_a_batch_is_embedded_within_the_request_too(
    inline: httpx.Client, owner: Connection
) -> None:
    contents = [f"subject{number} only" for number in range(20)]
    body = {"messages": [message(content=content) for content in contents]}
    body["messages"][3]["tenant_id"] = "globex"
    assert inline.post("/v1/messages/batch", json=body).status_code == 200
    for number in (0, 19):
        assert found(inline, f"subject{number}", top_k=1)[0]["content"] == contents[number]
    assert found(inline, "subject3", tenant_id="globex")[0]["content"] == contents[3]
    assert stored(owner, "message_embeddings") == 20


def test_a_replay_embeds_nothing_twice(inline: httpx.Client, owner: Connection) -> None:
    for _ in range(2):
        answer = inline.post("/v1/messages", json=message(), headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
    assert stored(owner) == stored(owner, "message_embeddings") == 1


def test_a_long_message_has_a_vector_for_each_part(inline: httpx.Client, owner: Connection) -> None:
    content = "word " * 19_000 + "needle"
    assert inline.post("/v1/messages", json=message(content=content)).status_code == 200
    parts = owner.scalars(text("select part from message_embeddings order by part")).all()
    assert parts == list(range(len(parts)))
    assert len(parts) > 1
    assert found(inline, "needle")
