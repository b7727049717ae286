"""Stores of several tenants, to be backed up, and what a store holds, to be compared."""

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import psycopg

from memory.backups import Manifest
from tests.processes import wait_until

TENANTS = {"acme": 30, "globex": 20, "initech": 1}

FILL = """
insert into embedding_models (name, dimensions, active) values ('mock', 8, true);
create index message_embeddings_hnsw_1 on message_embeddings
  using hnsw ((embedding::halfvec(8)) halfvec_cosine_ops) where model_id = 1;
insert into message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)
select tenant_id, id, 1, 'content', 0,
  array(select random() + length(content) * 0 from generate_series(1, 8))::real[]::halfvec
from messages;
insert into message_terms
  (tenant_id, message_id, kind, previous_id, analyser, length, weights, keys)
select tenant_id, id, 'content', null, 'a', 1, '{1:0.5}/1000000000', array[1, 2] from messages;
insert into tenant_settings (tenant_id, language) values ('globex', 'german');
insert into idempotency_keys (tenant_id, key, digest, message_ids) values ('acme', 'k', '', '{}');
insert into api_keys (id, digest, label, scopes, created_by)
values (gen_random_uuid(), sha256('k'), 'ci', '{read}', 'test');
insert into audit_log (tenant_id, id, actor, action, result)
values ('*', gen_random_uuid(), 'test', 'keys.create', 'ok');
"""


class Watched:
    """Notes what it is told, and may raise at a stage."""

    def __init__(self, give_up_at: str = "", error: BaseException | None = None) -> None:
        self.stages: list[str] = []
        self.done: list[int] = []
        self._give_up_at = give_up_at
        self._error = error

    def stage(self, what: str, total: int) -> None:
        self.stages.append(what)

    def reached(self, done: int) -> None:
        self.done.append(done)
        self.pulse()

    def pulse(self) -> None:
        if self._error and self.stages[-1] == self._give_up_at:
            raise self._error


def fill(url: str) -> None:
    """Messages of three tenants with vectors, terms, keys and what else there is."""
    with psycopg.connect(url) as connection:
        for tenant, messages in TENANTS.items():
            connection.execute(
                "insert into messages (tenant_id, id, conversation_id, role, content,"
                " importance_score, created_at) select %s, gen_random_uuid(), 'c', 'user',"
                " 'said ' || n || E' \\t\\\\ \\n ü', 0.5, now() from generate_series(1, %s) n",
                (tenant, messages),
            )
        connection.execute(FILL)


def everything(url: str) -> dict[str, str]:
    """Each table's rows, in order, as one hash."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace"
            " and relkind = 'r' order by 1"
        ).fetchall()
        found = {}
        for (table,) in tables:
            rows = connection.execute(f'select t::text from "{table}" t order by 1').fetchall()
            found[table] = f"{len(rows)} {hashlib.md5(repr(rows).encode()).hexdigest()}"
    return found


def databases(url: str) -> set[str]:
    """The names of the databases of the server."""
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("select datname from pg_database")}


def as_login(url: str, login: str) -> str:
    """The URL for another login, whose password is its name."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{login}:{login}@{place}"))


def name_of(url: str) -> str:
    """The name of a database."""
    return url.rpartition("/")[2]


def indexes(url: str) -> set[str]:
    """The indexes of a store, as they are defined."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select indexdef from pg_indexes where schemaname = 'public'")
        return {definition for (definition,) in rows}


def wait_until_next_second(manifest: Manifest) -> None:
    """Two backups of one second would have one name."""
    end = manifest.taken_at + timedelta(seconds=1)
    wait_until(lambda: datetime.now(UTC) > end, "the next second")
