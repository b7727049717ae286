"""The reader of statements tells those that name the tenant from those that only seem to."""

import pytest

from tests.db.naming import Reader, trees

TABLES = ("messages", "message_terms")


def left_open(sql: str) -> set[str]:
    found: set[str] = set()
    for tree in trees(sql):
        found |= Reader(TABLES, ["tenant_of_message"]).left_open(tree)
    return found


@pytest.mark.parametrize(
    "sql",
    [
        "select id from messages where tenant_id = %(tenant_id)s::text and id = %(id)s",
        "select id from messages m where coalesce(m.tenant_id = $1, false)",
        "select id from messages where tenant_id = any($1)",
        "select id from messages where tenant_id in ($1, $2)",
        (
            "select 1 from messages m join message_terms t on t.tenant_id = m.tenant_id"
            " where m.tenant_id = $1"
        ),
        "select 1 from messages m join message_terms using (tenant_id) where m.tenant_id = $1",
        "select 1 from unnest($1::text[]) as input (tenant_id) join messages using (tenant_id)",
        (
            "select 1 from messages left join message_terms t on t.tenant_id = messages.tenant_id"
            " where messages.tenant_id = $1"
        ),
        "with named as (select id from messages where tenant_id = $1) select * from named",
        (
            "update messages set role = '' from unnest($1) as i (id)"
            " where messages.tenant_id = $2 and messages.id = i.id"
        ),
        "delete from messages where (tenant_id, id) in (select * from unnest($1, $2))",
        "insert into messages (tenant_id, id) select $1, id from unnest($2) as i (id)",
        "select 1 from embedding_models",
    ],
)
def test_the_tenant_is_named(sql: str) -> None:
    assert left_open(sql) == set()


@pytest.mark.parametrize(
    ("sql", "open_"),
    [
        ("select id from messages where id = $1", {"messages"}),
        ("select id from messages as m where tenant_id = $1 or id = $2", {"m"}),
        ("select id from messages where tenant_id > $1", {"messages"}),
        ("select 1 from messages m, message_terms t where m.tenant_id = $1", {"t"}),
        ("select 1 from messages m, message_terms t where m.tenant_id = t.tenant_id", {"m", "t"}),
        (
            (
                "select 1 from messages left join message_terms t"
                " on t.tenant_id = messages.tenant_id and messages.tenant_id = $1"
            ),
            {"messages", "t"},
        ),
        (
            "select $1 from messages left join unnest($1) as i (tenant_id) using (tenant_id)",
            {"messages"},
        ),
        (
            "select (select count(*) from message_terms) from messages where tenant_id = $1",
            {"message_terms"},
        ),
        (
            (
                "with all_of_them as (select * from messages) select * from all_of_them"
                " where tenant_id = $1"
            ),
            {"messages"},
        ),
        ("update messages set role = '' where id = $1", {"messages"}),
        (
            (
                "delete from messages"
                " where (tenant_id, id) in (select tenant_id, message_id from message_terms t)"
            ),
            {"t"},
        ),
        ("insert into messages (id) values ($1)", {"messages"}),
        (
            "insert into messages (tenant_id, id) select tenant_id, message_id from message_terms",
            {"message_terms"},
        ),
        ("select tenant_of_message($1)", {"tenant_of_message"}),
    ],
)
def test_the_tenant_is_left_open(sql: str, open_: set[str]) -> None:
    assert left_open(sql) == open_
