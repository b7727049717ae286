"""Spans of statements: each has the name that the statement begins with."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from sqlalchemy.sql import ClauseElement

import db
from db.queries.models import hnsw_index
from db.tracing import NAME, name_of


def statements() -> Iterator[tuple[str, ClauseElement]]:
    """Each statement that stands in `db` as a constant."""
    for module in pkgutil.walk_packages(db.__path__, "db."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.isupper() and isinstance(value, ClauseElement):
                yield f"{module.name}.{name}", value


def test_each_statement_begins_with_a_name() -> None:
    named = {place: NAME.match(str(statement)) for place, statement in statements()}
    assert len(named) > 50
    assert not [place for place, name in named.items() if name is None]


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("\n/* insert_messages */\nwith ...", "insert_messages"),
        ("SELECT /* jobs_page */ jobs.id", "jobs_page"),
        ("select '/* no_name */'", "select"),
        ("select 1 /* no_name */", "select"),
        ("/* two words */ select 1", ""),
        (str(hnsw_index(1, 3)), "create"),
        ("", ""),
    ],
)
def test_a_statement_is_called_by_its_name_or_first_word(statement: str, name: str) -> None:
    assert name_of(statement) == name
