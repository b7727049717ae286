"""`POST /v1/messages` beside pgbench, which inserts the same rows into the same tables."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from bench.speed.client import MARK
from bench.speed.loading import Answered, http_request
from bench.speed.pgbench import Script
from bench.speed.running import Api
from db.queries.messages import NewRow, insert_columns
from memory.lexical.analysis import analyser
from memory.lexical.bm25 import content_entry
from memory.markers import markers
from memory.messages import NewMessage, accept
from memory.settings import Settings
from memory.tenants import TenantSettings, effective

TENANTS = [f"tenant-{number}" for number in range(8)]
CONVERSATIONS = 40
PATH = "/v1/messages"
NUMBER = "000000000"
FLOOR_ROWS = 100
BATCH = 100
STORED = (
    "conversation_id",
    "role",
    "content",
    "metadata",
    "importance_score",
    "markers",
    "embedding_status",
)

# What one message is in the store, as the API's role, which row-level security holds: `n` makes
# each text, and with it one of its terms, another. All else is as the API has it for a request.
INSERT = r"""
\set n random(1, 999999999)
\startpipeline
begin;
select set_config('memory.tenants', :tenant_id_{n}, true);
with stored as (
  insert into messages (
    tenant_id, id, conversation_id, role, content, metadata, importance_score, markers,
    embedding_status, created_at, ingested_at, updated_at)
  values (
    :tenant_id_{n}, uuidv7(), :conversation_id_{n}, :role_{n},
    replace(:content_{n}, '000000000', cast(:n as text)), cast(:metadata_{n} as jsonb),
    cast(:importance_score_{n} as float8), cast(:markers_{n} as real), :embedding_status_{n},
    cast(:created_at_{n} as timestamptz), cast(:created_at_{n} as timestamptz),
    cast(:created_at_{n} as timestamptz))
  returning id
)
insert into message_terms (tenant_id, message_id, kind, analyser, length, weights, keys)
select :tenant_id_{n}, id, 'content', :analyser_{n}, cast(:length_{n} as int),
  cast(:weights_{n} as sparsevec), array_append(cast(:keys_{n} as int8[]), :n)
from stored;
commit;
\endpipeline
"""


def messages(texts: Sequence[str], mark: str) -> list[dict[str, str]]:
    """The texts as messages of several tenants, each with `mark` behind its first words."""
    found = []
    for place, text in enumerate(texts):
        first, _, rest = text.partition(" ")
        found.append(
            {
                "tenant_id": TENANTS[place % len(TENANTS)],
                "conversation_id": f"conversation-{place // len(TENANTS) % CONVERSATIONS}",
                "role": ("user", "assistant")[place // len(TENANTS) % 2],
                "content": f"{first} {mark} {rest}",
            }
        )
    return found


def requests(api: Api, texts: Sequence[str]) -> list[bytes]:
    """The requests that post them, one each; their numbers make each another text."""
    bodies = [msgspec.json.encode(each) for each in messages(texts, NUMBER)]
    marked = [body.replace(NUMBER.encode(), MARK, 1) for body in bodies]
    return [http_request(api.url, "POST", PATH, api.headers, body) for body in marked]


def post(api: Api, texts: Sequence[str], clients: int, seconds: float) -> Answered:
    """Post messages one by one, by so many clients."""
    return api.loader.send(requests(api, texts), clients, seconds)


def post_batches(api: Api, texts: Sequence[str], clients: int, seconds: float) -> Answered:
    """Post batches of `BATCH` messages, each of one tenant, by so many clients."""
    return api.loader.send(batches(api, texts), clients, seconds)


def batches(api: Api, texts: Sequence[str]) -> list[bytes]:
    """The requests that post the texts in batches; the number of one makes each text another."""
    made = []
    for place, start in enumerate(range(0, len(texts) - BATCH + 1, BATCH)):
        tenant = TENANTS[place % len(TENANTS)]
        of_one = messages(texts[start : start + BATCH], NUMBER)
        body = msgspec.json.encode({"messages": [{**each, "tenant_id": tenant} for each in of_one]})
        marked = body.replace(NUMBER.encode(), MARK)
        made.append(http_request(api.url, "POST", f"{PATH}/batch", api.headers, marked))
    return made


def rows_of(settings: Settings, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The columns, by name, that the API stores for the texts as messages."""
    own = effective(settings, TenantSettings())
    words, now = analyser(own.language), datetime.now(UTC)
    rows = []
    for each in messages(texts, NUMBER):
        new = msgspec.convert(each, NewMessage)
        marks = markers(new.content)
        stored = accept(new, "pending", now, marks, own)
        terms = content_entry(words, new.tenant_id, new.content, new.metadata)
        rows.append(NewRow(new, stored, terms, marks, None, None))
    columns: dict[str, list[Any]] = insert_parameters(rows)
    return [{name: values[n] for name, values in columns.items()} for n in range(len(rows))]


def insert_scripts(settings: Settings, texts: Sequence[str]) -> list[Script]:
    """For pgbench, what the API stores for `requests` of the first texts."""
    return [
        Script(INSERT.format(n=n), {f"{name}_{n}": str(value) for name, value in row.items()})
        for n, row in enumerate(rows_of(settings, texts[:FLOOR_ROWS]))
    ]
