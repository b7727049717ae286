"""What the index takes for having been said before a message, and what was."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import Connection, text

from tests.api.speaking import Speaker

START = datetime(2024, 1, 1, tzinfo=UTC)
CONTEXTS = text("""
select messages.content, previous.content as before
from message_terms as terms
join messages on messages.id = terms.message_id
join messages as previous on previous.id = terms.previous_id
where terms.kind = 'context'
""")
IN_ORDER = text("""
select content, lag(content) over (
  partition by tenant_id, conversation_id order by created_at, id) as before
from messages
""")


def at(minute: int) -> str:
    """A time as a request gives it."""
    return (START + timedelta(minutes=minute)).isoformat()


def contexts(owner: Connection) -> dict[str, str]:
    """What was said, with what the index takes for having been said before it."""
    return {row.content: row.before for row in owner.execute(CONTEXTS)}


def as_it_was(owner: Connection) -> dict[str, str]:
    """What was said, with what was said before it."""
    return {row.content: row.before for row in owner.execute(IN_ORDER) if row.before}


def say_at_once(services: list[httpx.Client], owner: Connection) -> None:
    """Forty messages of one conversation, by several callers at a time, in no order."""
    service = itertools.cycle(services)
    said = [(next(service), f"said{n:02}", at((n * 17) % 40)) for n in range(40)]

    def say(each: tuple[httpx.Client, str, str]) -> None:
        Speaker(each[0], "acme").say(each[1], created_at=each[2])

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(say, said))
    assert len(as_it_was(owner)) == 39
