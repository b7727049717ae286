"""What a message may look like on the wire, and what becomes of it when it is accepted."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.importance import Grounds, importance
from memory.messages import MessageBatch, NewMessage, accept, request_digest
from memory.settings import Settings
from memory.tenants import TenantSettings, effective
from tests.conftest import message

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DEFAULTS = effective(Settings(), TenantSettings())


def decoded(**changes: Any) -> NewMessage:
    return msgspec.json.decode(msgspec.json.encode(message(**changes)), type=NewMessage)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", "a"),
        ("tenant_id", "A-z_0.9" + "x" * 57),
        ("conversation_id", "x" * 128),
        ("conversation_id", "Gespräch über Köln 🌍/1?#"),
        *(("role", role) for role in ("user", "assistant", "system", "tool")),
        ("content", "x"),
        ("content", "\n\t \x01 ' \" \\ 🌍 \u202e"),
        ("metadata", {"any": ["thing", None, 1.5, {"deep": True}]}),
        ("importance_override", None),
        ("importance_override", 0),
        ("importance_override", 1),
        ("created_at", "2026-05-01T12:00:00.123456+05:30"),
    ],
)
def test_taken(field: str, value: Any) -> None:
    decoded(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", ""),
        ("tenant_id", "x" * 65),
        ("tenant_id", "acme\n"),
        ("tenant_id", "a,b"),
        ("tenant_id", "a b"),
        ("tenant_id", "ä"),
        ("tenant_id", "٣"),
        ("tenant_id", 1),
        ("tenant_id", None),
        ("conversation_id", ""),
        ("conversation_id", "x" * 129),
        ("conversation_id", "a\n"),
        ("conversation_id", "a\x00b"),
        ("conversation_id", "a\x7f"),
        ("role", "User"),
        ("role", ""),
        ("content", ""),
        ("content", None),
        ("content", ["text"]),
        ("metadata", None),
        ("metadata", []),
        ("metadata", "{}"),
        ("importance_override", -0.01),
        ("importance_override", 1.01),
        ("importance_override", "0.5"),
        ("importance_override", True),
        ("created_at", "2026-05-01T12:00:00"),
        ("created_at", "2026-05-01"),
        ("created_at", "yesterday"),
        ("created_at", 1_777_000_000),
        ("surprise", 1),
    ],
)
def test_refused_with_the_field_named(field: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\W{field}\W"):
        decoded(**{field: value})


@pytest.mark.parametrize("field", ["tenant_id", "conversation_id", "role", "content"])
def test_required(field: str) -> None:
    body = {name: value for name, value in message().items() if name != field}
    with pytest.raises(msgspec.ValidationError, match=f"required field `{field}`"):
        msgspec.convert(body, NewMessage)


@given(st.text(max_size=70))
def test_a_tenant_is_what_the_documents_say(tenant_id: str) -> None:
    allowed = re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", tenant_id) is not None
    try:
        msgspec.convert(message(tenant_id=tenant_id), NewMessage)
    except msgspec.ValidationError:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize(("count", "allowed"), [(0, False), (1, True), (1000, True), (1001, False)])
def test_the_size_of_a_batch(count: int, allowed: bool) -> None:
    body = {"messages": [message()] * count}
    if allowed:
        assert not msgspec.convert(body, MessageBatch).partial
    else:
        with pytest.raises(msgspec.ValidationError, match="messages"):
            msgspec.convert(body, MessageBatch)


def test_an_accepted_message_is_the_one_that_came() -> None:
    new = decoded(metadata={"a": [1]}, content="word for word ")
    stored = accept(new, "pending", NOW, 0.5, DEFAULTS)
    for field in ("tenant_id", "conversation_id", "role", "content", "metadata"):
        assert getattr(stored, field) == getattr(new, field)
    assert stored.importance_score == importance(Grounds("user", NOW, 0.5), DEFAULTS, NOW)
    assert stored.embedding_status == "pending"
    assert stored.created_at == stored.updated_at == NOW
    assert stored.id.version == 7


def test_its_own_importance_and_time_are_kept() -> None:
    new = decoded(importance_override=0.123, created_at="2020-01-01T02:00:00+02:00")
    stored = accept(new, "completed", NOW, 0.5, DEFAULTS)
    assert stored.importance_score == 0.123
    assert stored.created_at.isoformat() == "2020-01-01T00:00:00+00:00"
    assert stored.updated_at == NOW


def test_what_was_said_long_ago_counts_as_old() -> None:
    long_ago = decoded(created_at="2020-01-01T00:00:00Z")
    old, new = (accept(each, "pending", NOW, 0.5, DEFAULTS) for each in (long_ago, decoded()))
    assert old.importance_score == pytest.approx(new.importance_score - 0.25)


def test_ids_come_in_order() -> None:
    ids = [accept(decoded(), "pending", NOW, 0.5, DEFAULTS).id for _ in range(100)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 100


def test_the_digest_is_of_what_was_asked_not_of_how_it_was_written() -> None:
    one = NewMessage(**message(metadata={"a": 1, "b": [2]}))
    same = NewMessage(**dict(reversed(message(metadata={"b": [2], "a": 1}).items())))
    assert request_digest([one]) == request_digest([same])


@pytest.mark.parametrize(
    "change",
    [{"content": "x"}, {"metadata": {"a": 1}}, {"importance_override": 0.5}, {"role": "tool"}],
)
def test_the_digest_tells_bodies_apart(change: dict[str, Any]) -> None:
    assert request_digest([decoded()]) != request_digest([decoded(**change)])
    assert request_digest([decoded()]) != request_digest([decoded(), decoded()])
