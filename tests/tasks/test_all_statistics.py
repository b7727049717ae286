"""Statistics that grew old although nothing was posted."""

import pytest
from sqlalchemy import Connection, text

from tasks import statistics
from tasks.indexing import COUNTED_FROM
from tasks.resources import Resources
from tasks.statistics import Round, refresh_old

FILL = text("""
with made as (
  insert into messages (tenant_id, id, conversation_id, role, content, importance_score, created_at)
  select :tenant_id, gen_random_uuid(), 'c', 'user', 'x', 0.5, now()
  from generate_series(1, :messages)
  returning tenant_id, id
)
insert into message_terms (tenant_id, message_id, kind, analyser, length, weights, keys)
select tenant_id, id, 'content', 'a', 1, '{7:1}/1000000000', array[7] from made
""")
LOSE = text("""
delete from messages where (tenant_id, id) in (
  select tenant_id, id from messages where tenant_id = :tenant_id limit :messages)
""")
COUNTED = text("select tenant_id, messages from term_statistics")
TERMS = text("select count(*) from term_counts where tenant_id = :tenant_id")


def fill(owner: Connection, tenant_id: str, messages: int = COUNTED_FROM) -> None:
    owner.execute(FILL, {"tenant_id": tenant_id, "messages": messages})


def lose(owner: Connection, tenant_id: str, messages: int) -> None:
    owner.execute(LOSE, {"tenant_id": tenant_id, "messages": messages})


def counted(owner: Connection) -> dict[str, int]:
    return {tenant_id: messages for tenant_id, messages in owner.execute(COUNTED)}  # noqa: C416


def test_they_follow_what_was_deleted_where_it_is_much(
    resources: Resources, owner: Connection
) -> None:
    for tenant_id in ("acme", "globex", "gone"):
        fill(owner, tenant_id)
    fill(owner, "small", COUNTED_FROM - 1)
    # None has statistics yet: the tasks that were to make them were lost.
    assert refresh_old(resources, "", 60) == Round(tenants=4, refreshed=3)
    assert counted(owner) == {"acme": 1000, "globex": 1000, "gone": 1000}

    lose(owner, "acme", 100)
    lose(owner, "globex", 99)
    lose(owner, "gone", 1000)
    assert refresh_old(resources, "", 60) == Round(tenants=4, refreshed=2)
    assert counted(owner) == {"acme": 900, "globex": 1000, "gone": 0}
    # Of a tenant without messages no word is kept.
    assert owner.scalar(TERMS, {"tenant_id": "gone"}) == 0

    # Sent twice, the second finds nothing to do, also where nothing is left.
    assert refresh_old(resources, "", 60) == Round(tenants=4, refreshed=0)


def test_when_time_is_up_the_next_goes_on_behind_the_last_tenant(
    resources: Resources, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "TENANTS_AT_ONCE", 2)
    for tenant_id in ("A", "Z", "a", "é"):
        fill(owner, tenant_id)
    seen, after = [], ""
    for _ in range(5):
        done = refresh_old(resources, after, 0)
        seen.append(done)
        after = done.goes_on_after or ""
    # In the order of the bytes, and once each.
    stops = [done.goes_on_after for done in seen]
    assert stops == ["A", "Z", "a", "é", None]
    assert sum(done.refreshed for done in seen) == 4
    assert refresh_old(resources, "", 60) == Round(tenants=4, refreshed=0)
