"""Contexts: each message is found by the words of the one before it, and of no other."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, event, text

from memory.settings import Settings
from tasks.embedding import claim, embed_claimed
from tasks.indexing import write_contexts
from tasks.resources import Resources
from tests.api.speaking import Speaker, contents
from tests.conftest import serving
from tests.contexts import as_it_was, at, contexts, say_at_once
from tests.db.rows import add_message
from tests.processes import wait_until

NO_CONTEXTS = text("delete from message_terms where kind = 'context'")

Do = Callable[[], object]


@pytest.fixture
def speaker(api: httpx.Client) -> Speaker:
    """A tenant of a service with workers, of which none runs."""
    return Speaker(api, "acme")


@pytest.fixture
def index(resources: Resources) -> Do:
    """Does what a worker does with what waits."""

    def embed() -> None:
        embed_claimed(resources, "acme", claim(resources, "acme", [], False))
        resources.answers.changed("acme")

    return embed


def lexically(speaker: Speaker, query: str) -> set[str]:
    return set(contents(speaker.finds(query, mode="lexical", top_k=100)))


def test_each_message_is_indexed_with_the_one_before(
    speaker: Speaker, owner: Connection, index: Do
) -> None:
    for minute, content in enumerate(("Do you like honey?", "yes", "Good.")):
        speaker.say(content, created_at=at(minute))
    speaker.say("I do not.", conversation_id="another", created_at=at(3))
    owner.execute(NO_CONTEXTS)
    assert lexically(speaker, "honey") == {"Do you like honey?"}
    index()
    assert contexts(owner) == {"yes": "Do you like honey?", "Good.": "yes"}
    assert lexically(speaker, "honey") == {"Do you like honey?", "yes"}


def test_what_is_said_between_comes_between(speaker: Speaker, owner: Connection, index: Do) -> None:
    speaker.say("one", created_at=at(1))
    speaker.say("three", created_at=at(3))
    index()
    assert contexts(owner) == {"three": "one"}
    speaker.say("two", created_at=at(2))
    owner.execute(NO_CONTEXTS)
    index()
    assert contexts(owner) == {"two": "one", "three": "two"}
    assert lexically(speaker, "one") == {"one", "two"}


def test_deleted_words_leave_the_index(speaker: Speaker, owner: Connection, index: Do) -> None:
    for minute, content in enumerate(("my secret honey", "yes", "Good.")):
        speaker.say(content, created_at=at(minute))
    index()
    assert lexically(speaker, "secret") == {"my secret honey", "yes"}
    owner.execute(text("delete from messages where content = 'my secret honey'"))
    assert contexts(owner) == {"Good.": "yes"}
    assert lexically(speaker, "secret") == set()
    assert lexically(speaker, "Good") == {"Good."}
    left = owner.scalars(text("select kind from message_terms order by 1")).all()
    assert left == ["content", "content", "context"]


@pytest.fixture
def meanwhile(resources: Resources) -> Callable[[Do], None]:
    """Has something happen once, after messages were read and before a context is written."""

    def arrange(what: Do) -> None:
        left = [what]

        def happen(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "write_terms" in statement and left:
                left.pop()()

        event.listen(resources.engine, "before_cursor_execute", happen)

    return arrange


def three(owner: Connection) -> list[UUID]:
    """Three messages, a second apart."""
    ids = [add_message(owner, content=content) for content in ("one", "two", "three")]
    for place, id_ in enumerate(ids):
        owner.execute(
            text("update messages set created_at = :at where id = :id"),
            {"at": at(place), "id": id_},
        )
    return ids


@pytest.mark.parametrize(
    "change",
    [
        "delete from messages where content = 'two'",
        "update messages set content_version = 2, content = 'new' where content = 'two'",
    ],
)
def test_words_that_went_while_a_context_was_made_stay_away(
    resources: Resources, owner: Connection, meanwhile: Callable[[Do], None], change: str
) -> None:
    ids = three(owner)
    meanwhile(lambda: owner.execute(text(change)))
    write_contexts(resources, "acme", ids[2:])
    assert contexts(owner) == {}


def test_what_is_said_while_a_context_is_made_has_its_place(
    resources: Resources, settings: Settings, owner: Connection, meanwhile: Callable[[Do], None]
) -> None:
    ids = three(owner)
    move = text("update messages set conversation_id = :to where content = 'two'")
    owner.execute(move, {"to": "nowhere"})

    def say_two() -> None:
        owner.execute(move, {"to": "c"})
        other = Resources(settings)
        write_contexts(other, "acme", [ids[1]])
        other.engine.dispose()

    meanwhile(say_two)
    write_contexts(resources, "acme", [ids[2]])
    assert contexts(owner) == {"two": "one", "three": "two"}


def test_messages_at_once_have_the_right_contexts(
    settings: Settings, worker: CeleryTestWorker, owner: Connection
) -> None:
    embedded = text("select count(*) from messages where embedding_status = 'completed'")
    with serving(settings) as one, serving(settings) as other:
        say_at_once([one, other], owner)
        wait_until(lambda: owner.scalar(embedded) == 40, "all are embedded")
        assert contexts(owner) == as_it_was(owner)
