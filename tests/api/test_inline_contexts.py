"""Contexts where no worker runs: each message is indexed with the one before it."""

from concurrent.futures import ThreadPoolExecutor

import httpx
from sqlalchemy import Connection, text

from memory.settings import Settings
from tests.api.speaking import Speaker
from tests.conftest import message, serving
from tests.contexts import as_it_was, at, contexts, say_at_once
from tests.processes import wait_until

HOLD_COMMITS = text("""
create function hold() returns trigger language plpgsql as
  'begin perform pg_advisory_xact_lock_shared(1); return null; end';
create constraint trigger hold after insert on messages deferrable initially deferred
  for each row execute function hold();
""")
HELD = text("select count(*) from pg_locks where locktype = 'advisory' and not granted")


def test_what_is_said_between_comes_between(inline: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(inline, "acme")
    for minute in (5, 1, 3, 2, 4):
        speaker.say(f"said{minute}", created_at=at(minute))
    assert contexts(owner) == as_it_was(owner)
    assert len(contexts(owner)) == 4


def test_a_batch_has_its_contexts_whatever_its_order(
    inline: httpx.Client, owner: Connection
) -> None:
    Speaker(inline, "acme").say_all(
        [
            message(content=f"said{n}", conversation_id=f"c{n % 2}", created_at=at(n))
            for n in (9, 2, 7, 4, 1, 6, 3, 8, 5, 0)
        ]
    )
    assert contexts(owner) == as_it_was(owner)
    assert len(contexts(owner)) == 8


def test_messages_of_one_moment_follow_each_other_by_their_ids(
    inline: httpx.Client, owner: Connection
) -> None:
    speaker = Speaker(inline, "acme")
    speaker.say_all([message(content=f"said{n}", created_at=at(0)) for n in range(5)])
    speaker.say("said5", created_at=at(0))
    assert contexts(owner) == as_it_was(owner)
    assert len(contexts(owner)) == 5


def test_contexts_keep_to_their_tenant(inline: httpx.Client, owner: Connection) -> None:
    for minute, tenant_id in enumerate(("acme", "globex", "acme")):
        Speaker(inline, tenant_id).say(f"{tenant_id}{minute}", created_at=at(minute))
    assert contexts(owner) == {"acme2": "acme0"}


def test_messages_at_once_have_the_right_contexts(
    inline_settings: Settings, owner: Connection
) -> None:
    with serving(inline_settings) as one, serving(inline_settings) as other:
        say_at_once([one, other], owner)
        assert contexts(owner) == as_it_was(owner)


def test_two_that_are_committed_at_once_see_each_other(
    inline_settings: Settings, owner: Connection
) -> None:
    owner.execute(HOLD_COMMITS)
    with (
        serving(inline_settings) as one,
        serving(inline_settings) as other,
        ThreadPoolExecutor(2) as callers,
    ):
        owner.execute(text("select pg_advisory_lock(1)"))
        first = callers.submit(Speaker(one, "acme").say, "one", created_at=at(1))
        second = callers.submit(Speaker(other, "acme").say, "two", created_at=at(2))
        wait_until(lambda: owner.scalar(HELD) == 2, "both are about to be committed")
        owner.execute(text("select pg_advisory_unlock(1)"))
        first.result()
        second.result()
    assert contexts(owner) == {"two": "one"}
