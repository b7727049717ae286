"""Two tenants of one's own, one that is attacked, and what must be seen of the last: nothing."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

from db.queries.audit import INSERT_RECORD, record_parameters
from db.queries.importance import ADD_USES
from db.queries.keys import INSERT_KEY
from db.queries.retention import ARCHIVE_MESSAGES
from db.queries.terms import REFRESH_STATISTICS
from db.queries.transfers import FINISH_TRANSFER, INSERT_PART, begin_transfer
from memory.jobs import JobState
from memory.keys import digest_of, drawn_key
from tests.api.isolation.operations import Aim
from tests.conftest import message
from tests.db.rows import add_job

MINE, ALSO_MINE, VICTIM, NOBODY = "mine", "also-mine", "victim-4711", "nobody-4711"
OPERATOR = "a-key-of-the-settings"
# Stands in every text of the victim, and these numbers in what has none.
CANARY, ODD_NUMBERS = "quokka4711", re.compile(r"(?<![\d.])48151(?:\.5)?(?!\d)")
EVERYTHING = ["read", "write", "admin"]

OF_ALL_TENANTS = "*"
TENANT_TABLES = text("""
select c.relname from pg_class c join pg_attribute t
  on t.attrelid = c.oid and t.attname = 'tenant_id'
where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1
""")


class Keys(NamedTuple):
    """Keys of the store, as they are sent."""

    mine: str
    """For one tenant, and everything there; `both` is for two."""
    both: str
    read: str
    write: str
    admin: str
    expired: str
    revoked: str
    theirs: str
    """The victim's."""


class Planted(NamedTuple):
    """What there is in the store: ids of one's own and of the victim, and the keys."""

    mine: Aim
    victim: Aim
    keys: Keys

    def seen_in(self, content: str) -> list[str]:
        """What stands there of the victim's: its texts, numbers, ids and name."""
        aim = self.victim
        markers = [CANARY, *(each for each in aim if each and each != aim.conversation)]
        return [each for each in markers if each in content] + ODD_NUMBERS.findall(content)


def plant(api: httpx.Client, owner: Connection) -> Planted:
    """Fill the store through a service that embeds within the request, and by hand."""
    keys = plant_keys(owner)
    mine = plant_tenant(api, owner, MINE, "badger", (5, 6))
    plant_tenant(api, owner, ALSO_MINE, "badger", (5, 6))
    victim = plant_tenant(api, owner, VICTIM, CANARY, (48151.5, 48151))
    plant_job(owner, OF_ALL_TENANTS, CANARY, "queued")
    plant_job(owner, OF_ALL_TENANTS, CANARY, "completed")
    owner.execute(INSERT_RECORD, record_parameters("*", CANARY, "test", {"said": CANARY}))
    return Planted(mine, victim, keys)


def plant_tenant(
    api: httpx.Client, owner: Connection, tenant_id: str, word: str, numbers: tuple[float, int]
) -> Aim:
    """A tenant with rows in every table, whose texts all have `word` in them."""
    conversation = f"{word}-conversation"
    said = [
        message(
            tenant_id=tenant_id,
            conversation_id=conversation,
            content=f"The otter sleeps in the {word}, {place}.",
            metadata={"topic": "otters", f"{word}-key": f"{word}-value"},
            created_at=(datetime.now(UTC) - timedelta(days=place + 1)).isoformat(),
        )
        for place in range(8)
    ] + [
        message(
            tenant_id=tenant_id,
            conversation_id="of-one-name",
            content=f"The {word} sleeps beside the otter.",
            metadata={"topic": "otters"},
        )
    ]
    batch = api.post(
        "/v1/messages/batch", json={"messages": said}, headers={"Idempotency-Key": f"{word}-key"}
    )
    assert batch.is_success, batch.text
    ids = [item["id"] for item in batch.json()["items"]]
    settings = f"/v1/admin/tenants/{tenant_id}/settings"
    assert api.put(settings, json={"half_life_days": numbers[0]}).is_success
    policy = f"/v1/admin/tenants/{tenant_id}/policy"
    rules = {"max_age_days": numbers[1], "legal_hold": tenant_id == VICTIM}
    assert api.put(policy, json=rules).is_success
    plant_rows(owner, tenant_id, word, ids)
    record = record_parameters(tenant_id, word, "test", {"said": word})
    owner.execute(INSERT_RECORD, record)
    return Aim(
        tenant=tenant_id,
        message=ids[0],
        archived=ids[1],
        failed=ids[2],
        aged=ids[3],
        queued=plant_job(owner, tenant_id, word, "queued"),
        broken=plant_job(owner, tenant_id, word, "failed"),
        completed=plant_job(owner, tenant_id, word, "completed"),
        record=str(record["id"]),
        key=str(plant_key(owner, drawn_key(), [tenant_id], EVERYTHING, label=word)),
        conversation=conversation,
    )


def plant_rows(owner: Connection, tenant_id: str, word: str, ids: list[str]) -> None:
    """What the service writes with time: an archive, failures, uses, statistics, work to do."""
    named = {"tenant_id": tenant_id, "ids": [ids[1]]}
    owner.execute(ARCHIVE_MESSAGES, named)
    # Old and of no weight: a run that was not held to one's own tenant would put it away.
    aged = {"tenant_id": tenant_id, "id": ids[3]}
    owner.execute(
        text("""
update messages set ingested_at = now() - interval '1000 days', importance_score = 0
where tenant_id = :tenant_id and id = :id and tenant_id = :victim"""),
        aged | {"victim": VICTIM},
    )
    failed = {"tenant_id": tenant_id, "id": ids[2], "word": word}
    owner.execute(
        text("""
update messages set embedding_status = 'failed', embedding_error = :word, embedding_attempts = 9
where tenant_id = :tenant_id and id = :id"""),
        failed,
    )
    uses = {"tenant_ids": [tenant_id], "message_ids": [ids[0]], "uses": [3.0]}
    owner.execute(ADD_USES, uses | {"half_life_days": 30})
    owner.execute(REFRESH_STATISTICS, {"tenant_id": tenant_id})
    for kind in ("export", "import"):
        plant_file(owner, tenant_id, kind, word)
    # Far ahead, or the service would do it.
    owner.execute(
        text("insert into term_reindexing values (:tenant_id, default, now() + interval '1 day')"),
        {"tenant_id": tenant_id},
    )


def plant_file(owner: Connection, tenant_id: str, kind: str, word: str) -> None:
    """A file that is kept for a tenant."""
    named = {"tenant_id": tenant_id, "id": uuid7()}
    begin_transfer(owner, tenant_id, named["id"], kind)
    owner.execute(INSERT_PART, named | {"number": 0, "begins": 0, "content": word.encode()})
    owner.execute(FINISH_TRANSFER, named | {"bytes": len(word)})


def plant_job(owner: Connection, tenant_id: str, word: str, state: JobState) -> str:
    """A job that nobody begins: its lease is another's."""
    return add_job(
        owner,
        tenant_id,
        "rescore",
        state=state,
        error=word,
        started_by=word,
        arguments=f'{{"said": "{word}"}}',
        result=f'{{"said": "{word}"}}',
        lease_until=datetime.now(UTC) + timedelta(days=1),
        finished_at=None if state == "queued" else datetime.now(UTC),
    )


def plant_keys(owner: Connection) -> Keys:
    """The keys of an application, and one of somebody else."""
    drawn = Keys(*(drawn_key() for _ in Keys._fields))
    for each in (drawn.mine, drawn.expired, drawn.revoked):
        plant_key(owner, each, [MINE], EVERYTHING)
    plant_key(owner, drawn.both, [MINE, ALSO_MINE], EVERYTHING)
    for scope in ("read", "write", "admin"):
        plant_key(owner, getattr(drawn, scope), [MINE], [scope])
    plant_key(owner, drawn.theirs, [VICTIM], EVERYTHING, label=CANARY)
    end = "update api_keys set {} = now() - interval '1 second' where digest = :digest"
    owner.execute(text(end.format("expires_at")), {"digest": digest_of(drawn.expired)})
    owner.execute(text(end.format("revoked_at")), {"digest": digest_of(drawn.revoked)})
    return drawn


def plant_key(
    owner: Connection, drawn: str, tenants: list[str], scopes: list[str], label: str = ""
) -> UUID:
    """A live key; gives its id."""
    key_id: UUID = uuid7()
    values: dict[str, Any] = {
        "id": key_id,
        "digest": digest_of(drawn),
        "label": label,
        "tenants": tenants,
        "scopes": scopes,
        "rate_limit": None,
        "created_by": label or "test",
        "expires_at": None,
    }
    owner.execute(INSERT_KEY, values)
    return key_id


def begin_anew(owner: Connection, aim: Aim) -> None:
    """Have the rows of `aim` as they were planted, so that each call finds what it is for."""
    for change, name in (
        ("messages set archived_at = ingested_at, embedding_status = 'archived'", "archived"),
        ("messages set embedding_status = 'failed'", "failed"),
        ("jobs set state = 'queued', lease_until = now() + interval '1 day'", "queued"),
        ("jobs set state = 'failed'", "broken"),
    ):
        named = {"id": getattr(aim, name)}
        owner.execute(text(f"update {change} where id = cast(:id as uuid)"), named)
    # One import at a time.
    owner.execute(
        text("update jobs set state = 'completed' where kind = 'import' and tenant_id <> :victim"),
        {"victim": VICTIM},
    )


def rows_of_others(owner: Connection) -> dict[str, list[str]]:
    """All rows that are not one's own, by table; but for what is recorded of all tenants."""
    found = {}
    for table in owner.scalars(TENANT_TABLES).all():
        where = "tenant_id <> all(array['mine', 'also-mine'])"
        if table == "audit_log":
            where += " and tenant_id <> '*'"
        rows = owner.scalars(text(f"select t::text from {table} as t where {where} order by 1"))
        found[str(table)] = list(rows.all())
    keys = "select (to_jsonb(k) - 'last_used_at')::text from api_keys as k order by 1"
    found["api_keys"] = list(owner.scalars(text(keys)).all())
    return found


def markers_in_own_rows(owner: Connection, planted: Planted) -> set[str]:
    """What of the victim's stands in rows of one's own, but for the record of who said it."""
    found = set()
    for table in owner.scalars(TENANT_TABLES).all():
        rows = owner.scalars(
            text(f"select t::text from {table} as t where tenant_id = any(array[:mine, :other])"),
            {"mine": MINE, "other": ALSO_MINE},
        )
        content = " ".join(rows)
        found |= {f"{each} in {table}" for each in planted.seen_in(content)}
    return found


def another_request() -> str:
    """An id for a request that no other has."""
    return uuid4().hex
