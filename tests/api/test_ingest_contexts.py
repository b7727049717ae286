"""Groups that are stored at once and touch the contexts of the same messages."""

import asyncio

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.ingest import Ingest
from api.storing import Request
from tests.api.test_ingest import asked, engine, store_all
from tests.contexts import START, as_it_was, at

__all__ = ["engine"]  # a fixture

# Long enough for both groups to have written their first context before either writes its second.
SLOW_CONTEXTS = text("""
create function slow() returns trigger language plpgsql as
  'begin perform pg_sleep(0.5); return new; end';
create trigger slow after insert or update on message_terms for each row
  when (new.kind = 'context') execute function slow();
""")


def before(conversation: str, minute: int) -> Request:
    """A message that was said before all that the conversation has."""
    said = START.fromisoformat(at(minute))
    return asked(f"{conversation}{minute}", conversation_id=conversation, created_at=said)


async def test_groups_that_meet_in_two_conversations_are_both_stored(
    engine: AsyncEngine, owner: Connection
) -> None:
    await store_all(Ingest(engine), [before("a", 9), before("b", 9)])
    owner.execute(SLOW_CONTEXTS)
    one, other = [before("a", 1), before("b", 1)], [before("b", 2), before("a", 2)]
    await asyncio.gather(store_all(Ingest(engine), one), store_all(Ingest(engine), other))
    for request in one + other:
        assert request.done.exception() is None
    assert len(as_it_was(owner)) == 4
