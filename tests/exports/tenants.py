"""A tenant with something of everything, and looking whether it is the same again."""

import random
from typing import Any

import httpx
from sqlalchemy import Connection, text

from db.queries.importance import ADD_USES
from tasks.archiving import archive
from tasks.embedding import claim, embed_claimed
from tasks.indexing import analyser_of
from tasks.resources import Resources
from tests.api.speaking import Speaker
from tests.contexts import at
from tests.processes import wait_until

MESSAGES = 240
PENDING = text("select count(*) from messages where embedding_status = 'pending'")
QUERIES = ("otter and badger", "the heron of Lisbon", "naïve 🦦 café", "日本語 の 川", "word17")
WORDS = [
    "otter",
    "badger",
    "heron",
    "river",
    "Lisbon",
    "café",
    "naïve",
    "🦦",
    "日本語の川",
    "stone",
]
# All that is stored of a tenant, without what only says when and how it came in.
ROWS = {
    "messages": "to_jsonb(t) - array['restored_at', 'content_version', 'claimed_until',"
    " 'embedding_attempts', 'pending_since']",
    "message_embeddings": "to_jsonb(t)",
    "message_terms": "to_jsonb(t)",
    "archived_terms": "to_jsonb(t)",
    "message_uses": "to_jsonb(t)",
    "tenant_settings": "to_jsonb(t) - 'updated_at'",
    "retention_policies": "to_jsonb(t) - 'updated_at'",
}


def fill(api: httpx.Client, owner: Connection, resources: Resources, tenant_id: str) -> Speaker:
    """Store and embed a tenant that has everything that there is to have."""
    speaker = Speaker(api, tenant_id)
    chance = random.Random(7)
    path = f"/v1/admin/tenants/{tenant_id}"
    rules = {"max_age_days": 300, "exempt_roles": ["system"]}
    assert api.put(f"{path}/settings", json={"half_life_days": 9, "w_recency": 0.1}).is_success
    assert api.put(f"{path}/policy", json=rules).is_success
    said = [
        {
            "role": chance.choice(["user", "assistant", "system", "tool"]),
            "conversation_id": f"c-{n % 7}",
            "content": " ".join(chance.choices(WORDS, k=6)) + f' word{n} "\\\n\u2028',
            "metadata": {"n": n, "deep": {"é": [1.5, None, True, "\u0001"]}} if n % 3 else {},
            "created_at": at(n // 2 + chance.randrange(20)),
            **({"importance_override": 0.9} if n % 11 == 0 else {}),
        }
        for n in range(MESSAGES)
    ]
    said.append({**said[0], "content": "a long text of the river, part after part. " * 600})
    ids = speaker.say_all([{**each} for each in map(with_defaults, said)])
    embed_all(resources, tenant_id)
    # A worker may be at it, too.
    wait_until(lambda: not owner.scalar(PENDING), "all are embedded")
    for message_id in ids[:9]:
        assert api.post(f"/v1/messages/{message_id}/pin").is_success
    put_away(resources, tenant_id, ids[20:50])
    uses = {"tenant_ids": [tenant_id] * 5, "message_ids": ids[60:65], "uses": [1.5] * 5}
    owner.execute(ADD_USES, {**uses, "half_life_days": 30})
    owner.execute(text("update messages set markers = 0.3, rarity = 0.7 where role = 'user'"))
    return speaker


def with_defaults(said: dict[str, Any]) -> dict[str, Any]:
    """A whole message."""
    return {"conversation_id": "c", "role": "user", **said}


def embed_all(resources: Resources, tenant_id: str) -> None:
    """Do what the workers do with what is pending."""
    resources.check_model()
    while claimed := claim(resources, tenant_id, [], False):
        embed_claimed(resources, tenant_id, claimed)
    resources.answers.changed(tenant_id)


def put_away(resources: Resources, tenant_id: str, ids: list[Any]) -> None:
    """Archive messages, as retention does."""
    with resources.engine.begin() as connection:
        archive(connection, analyser_of(resources, connection, tenant_id), tenant_id, ids)


def rows_of(owner: Connection, tenant_id: str) -> dict[str, list[Any]]:
    """All that is stored of a tenant, without its name."""
    found = {}
    for table, shown in ROWS.items():
        rows = owner.execute(
            text(
                f"select ({shown}) - 'tenant_id' as row from {table} as t"
                " where tenant_id = :tenant_id order by 1"
            ),
            {"tenant_id": tenant_id},
        )
        found[table] = [row.row for row in rows]
    return found


def answers_of(speaker: Speaker) -> list[Any]:
    """What is found, and with which scores: to a digit that a second of age does not change."""
    found = []
    for mode in ("hybrid", "lexical", "semantic"):
        for query in QUERIES:
            asked = {"mode": mode, "top_k": 20, "include_archived": "true"}
            items = speaker.finds(query, **asked)
            found.append([(each["message_id"], round(each["score"], 5)) for each in items])
    return found


def erase(owner: Connection, tenant_id: str) -> None:
    """Leave nothing of a tenant."""
    for table in ("messages", "tenant_settings", "retention_policies", "term_statistics"):
        owner.execute(text(f"delete from {table} where tenant_id = :t"), {"t": tenant_id})


def many(owner: Connection, count: int) -> None:
    """Short messages, of which the service makes nothing."""
    owner.execute(
        text("""
insert into messages (tenant_id, id, conversation_id, role, content, importance_score, created_at)
select 'acme', uuidv7(make_interval(secs => n)), 'c-' || n, 'user', 'said ' || n, 0.5, now()
from generate_series(1, :count) as n"""),
        {"count": count},
    )


def another_model(owner: Connection) -> None:
    """Have the store's model be another one of the same dimensions."""
    owner.execute(text("update embedding_models set name = 'another'"))
