"""Going through a tenant's messages, page by page."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, text

from tests.api.answers import assert_problem
from tests.api.speaking import Speaker, contents
from tests.conftest import message
from tests.db.rows import add_message

ARCHIVE = text("""
update messages set archived_at = now(), embedding_status = 'archived' where content = :content
""")


def page(api: httpx.Client, **parameters: Any) -> dict[str, Any]:
    answer = api.get("/v1/messages", params={"tenant_id": "acme", **parameters})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def listed(api: httpx.Client, **parameters: Any) -> list[str]:
    return contents(page(api, **parameters)["items"])


@pytest.mark.parametrize("narrowed", [{}, {"conversation_id": "c-1"}])
def test_messages_are_listed_as_they_came_page_by_page(
    speaker: Speaker, narrowed: dict[str, str]
) -> None:
    ids = speaker.say_all([message(content=f"note {n}") for n in range(5)])
    pages: list[list[str]] = []
    after = None
    while not pages or after:
        parameters = {"tenant_id": speaker.tenant_id, "limit": 2, **narrowed}
        answer = page(speaker.api, **parameters, **({"after": after} if after else {}))
        pages.append([item["id"] for item in answer["items"]])
        after = answer["next"]
    assert pages == [ids[:2], ids[2:4], ids[4:]]


def test_a_last_page_that_is_full_is_the_last(speaker: Speaker) -> None:
    speaker.say_all([message(content=f"note {n}") for n in range(2)])
    assert page(speaker.api, tenant_id=speaker.tenant_id, limit=2)["next"] is None


def test_a_listed_message_is_the_message(speaker: Speaker) -> None:
    message_id = speaker.say("I live in Lisbon.", metadata={"source": "chat"})
    (item,) = page(speaker.api, tenant_id=speaker.tenant_id)["items"]
    assert item == speaker.api.get(f"/v1/messages/{message_id}").json()


def test_of_another_tenant_nothing_is_listed(api: httpx.Client, owner: Connection) -> None:
    add_message(owner, "globex", "theirs")
    add_message(owner, "acme", "ours")
    assert listed(api) == ["ours"]
    assert listed(api, tenant_id="initech") == []


def test_a_list_keeps_to_a_status_and_a_conversation(api: httpx.Client, owner: Connection) -> None:
    add_message(owner, content="waits")
    add_message(owner, content="failed", status="failed")
    add_message(owner, content="failed elsewhere", status="failed", conversation_id="other")
    assert listed(api, embedding_status="failed") == ["failed", "failed elsewhere"]
    assert listed(api, embedding_status="pending") == ["waits"]
    assert listed(api, embedding_status="completed") == []
    assert listed(api, conversation_id="other") == ["failed elsewhere"]
    assert listed(api, embedding_status="pending", conversation_id="other") == []


def test_the_archive_is_listed_where_it_is_asked_for(api: httpx.Client, owner: Connection) -> None:
    for content in ("live", "archived", "newer"):
        add_message(owner, content=content)
    owner.execute(ARCHIVE, {"content": "archived"})
    assert listed(api) == listed(api, archived="exclude") == ["live", "newer"]
    assert listed(api, archived="only") == ["archived"]
    assert listed(api, archived="include") == ["live", "archived", "newer"]
    assert listed(api, embedding_status="archived") == ["archived"]
    assert listed(api, embedding_status="archived", archived="exclude") == []
    assert listed(api, embedding_status="pending", archived="only") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", "a b"),
        ("tenant_id", "*"),
        ("embedding_status", "lost"),
        ("archived", "true"),
        ("conversation_id", ""),
        ("conversation_id", "c" * 129),
        ("conversation_id", "a\0b"),
        ("limit", "0"),
        ("limit", "201"),
        ("after", "7"),
    ],
)
def test_a_wrong_parameter_is_named(shared: httpx.Client, field: str, value: str) -> None:
    answer = shared.get("/v1/messages", params={"tenant_id": "acme", field: value})
    assert_problem(answer, 400, "invalid-request", field)


def test_a_tenant_must_be_named(shared: httpx.Client) -> None:
    answer = shared.get("/v1/messages", params={"embedding_status": "failed"})
    assert_problem(answer, 400, "invalid-request", "tenant_id")


def test_text_that_is_no_unicode_is_no_fault_of_the_service(shared: httpx.Client) -> None:
    for path in ("%ED%A0%80", "%FF", "%00"):
        answer = shared.get(f"/v1/messages?tenant_id=acme&conversation_id={path}")
        assert answer.status_code in (200, 400), answer.text


def test_a_page_after_an_id_that_is_gone_goes_on_from_there(
    api: httpx.Client, owner: Connection
) -> None:
    ids = [add_message(owner, content=f"note {n}") for n in range(3)]
    owner.execute(text("delete from messages where id = :id"), {"id": ids[1]})
    assert listed(api, after=str(ids[1])) == ["note 2"]
    assert listed(api, after=str(UUID(int=0))) == ["note 0", "note 2"]
