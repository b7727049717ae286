"""With the filter taken out of each statement in turn, row-level security alone still holds."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, TextClause, text

import api
from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from memory.settings import Settings
from tests.api.isolation.attacking import Attacker
from tests.api.isolation.conftest import owning, planted_service
from tests.api.isolation.operations import OPERATIONS
from tests.api.isolation.planted import TENANT_TABLES, Planted, rows_of_others
from tests.api.isolation.statements import NAME, Statements
from tests.api.isolation.walking import Walk
from tests.api.isolation.walls import WALLS, Breach, Recording
from tests.conftest import serving

# Sent for a caller whose key is for some tenants, with no filter to take out: each with the reason.
INSERTS = "names the tenant of what it stores"
WITHOUT_FILTER = {
    "last_completed": "health: when retention ran last, in an operator's transaction",
    **dict.fromkeys(("insert_messages", "insert_vectors", "insert_job", "insert_record"), INSERTS),
    **dict.fromkeys(("put_policy", "put_settings", "reindex_tenant", "insert_transfer"), INSERTS),
}

# Statements of `api/` that a key for some tenants never has sent: each with the reason.
NOT_FOR_BOUND = {
    "api_key": "the door's, as the owner: gives what is known of the digest that was sent",
    "any_api_key": "the door's, as the owner: whether there is a key",
    "note_use": "the door's, of the keys that were used",
    "tenant_of_message": "an operator's, who names no tenant; `tenant_among` is for all others",
    "all_models": "an operator's, of no tenant",
    "keys_page": "an operator's, of no tenant",
    "fresh_gauges": "an operator's, of no tenant",
}

# What of a request is done in the worker's role, which sees all: the steps of a retention run,
# whose tenant was checked and stands in the job's row; with it the index of what follows on what
# was put away, and the statistics. (The upkeep of a service without workers is for no request.)
BY_WORKERS = {
    *("take_job", "advance_job", "finish_job", "insert_record"),
    *("count_due", "window_end", "lock_aged", "lock_deletable", "lock_retention", "policy_of"),
    *("archive_messages", "followers", "settings_of", "with_previous", "write_terms"),
    *("live_and_counted", "try_refresh_lock", "refresh_statistics"),
}

# What shows nothing of the victim by itself, even where nothing else holds: each with the reason.
TELLS_NOTHING = {
    "count_due": "a number of messages",
    "count_failed_of_tenant": "whether there are many",
    "messages_there": "whether kept answers still hold",
    "window_end": "where a slice ends",
    "scope_size": "chooses how the database searches",
    "tenant_size": "chooses how the database searches",
    "tenant_among": "the tenant's name, which is then compared with the key's",
    "jobs_by_id": "the job's tenant is then compared with the key's",
    "settings_of": "each row is taken for its own tenant's",
    "idempotent_request": "the ids of messages, which are then looked up for one's own tenant",
    "insert_job": "is undone, for the new job is then not found",
    "active_with_key": "whether an import is at work, or a job that is then not found",
    "finished_export": "the id of a file, whose parts are then looked up for one's own tenant",
    **dict.fromkeys(("insert_part", "finish_transfer", "part_at"), "by an id that nobody is told"),
}


STORING = [place for place in OPERATIONS if place[0] == "post" and "/v1/messages" in place[1]]
WRITES = {"cancel_job", "delete_policy", "delete_settings", "put_policy", "put_settings"}
WRITES |= {"insert_messages", "insert_record", "reindex_tenant"}
WRITES |= {"delete_transfers", "insert_transfer"}
WRITES |= {"pin_message", "restore_message", "retry_job", "retry_of_tenant", "add_uses"}


@pytest.fixture
def service(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, folder: Path, garden: tuple[str, Planted]
) -> Iterator[Settings]:
    """A service with a store of its own for each test: some break it."""
    with planted_service(postgres.url, garden[0], valkey.url, folder) as settings:
        yield settings


@pytest.fixture
def store(service: Settings) -> Iterator[Connection]:
    """The owner's connection to that store."""
    with owning(service.database_url) as connection:
        yield connection


@pytest.fixture(params=["by workers", "inline"])
def mode(request: pytest.FixtureRequest, service: Settings) -> Settings:
    """Settings of a service that leaves embedding to workers, and of one that does not."""
    if request.param == "by workers":
        return service
    return msgspec.structs.replace(service, async_embeddings=False, redis_url="")


@pytest.fixture
def walk(
    mode: Settings, store: Connection, planted: Planted, statements: Statements
) -> Iterator[Walk]:
    """A walk through such a service."""
    with serving(mode) as client:
        attacker = Attacker(client, store, planted, statements)
        # All else is as it is where there are workers.
        places = OPERATIONS if mode.async_embeddings else STORING
        yield Walk(attacker, mode.redis_url, places)


@pytest.fixture
def recording(walk: Walk) -> Recording:
    """What such a walk has sent."""
    return walk.record()


def tables(store: Connection) -> list[str]:
    return list(store.scalars(TENANT_TABLES).all())


def filter_of(walk: Walk, name: str) -> Breach:
    """Takes the filter of a statement out."""
    return Breach(name, "taken out", walk.attacker.planted)


def breaches(walk: Walk, recording: Recording, name: str) -> list[Breach]:
    """The ways in which there is a wall of a statement to take down."""
    all_of_them = [Breach(name, wall, walk.attacker.planted) for wall in WALLS]
    return [breach for breach in all_of_them if recording.can_fall(breach)]


def test_row_level_security_alone_holds(
    walk: Walk, recording: Recording, store: Connection
) -> None:
    before = rows_of_others(store)
    names = recording.about(tables(store))
    with_filter = {name for name in names if recording.can_fall(filter_of(walk, name))}
    assert set(names) - with_filter <= WITHOUT_FILTER.keys()
    for name in names:
        for breach in breaches(walk, recording, name):
            assert not walk.breach(recording, breach), (name, breach.wall)
    assert rows_of_others(store) == before


@pytest.mark.parametrize("mode", ["by workers"], indirect=True)
def test_without_it_each_statement_tells_or_changes_something(
    walk: Walk, recording: Recording, store: Connection
) -> None:
    """Or the test above would see nothing because there is nothing to be seen."""
    for table in tables(store):
        store.execute(text(f"alter table {table} disable row level security"))
    names = set(recording.about(tables(store))) - {"last_completed"} - TELLS_NOTHING.keys()
    # What is erased cannot be seen any more.
    for name in sorted(names, key=lambda name: (name in WRITES, name)):
        found = set[str]().union(
            *(walk.breach(recording, each) for each in breaches(walk, recording, name))
        )
        assert found, name


def test_what_workers_do_in_a_request_is_known(recording: Recording) -> None:
    assert recording.by_workers - {"as_api"} <= BY_WORKERS


def test_every_statement_of_the_api_is_sent(
    service: Settings, store: Connection, planted: Planted, statements: Statements
) -> None:
    seen: set[str] = set()
    for mode in (service, msgspec.structs.replace(service, async_embeddings=False, redis_url="")):
        with serving(mode) as client:
            walk = Walk(Attacker(client, store, planted, statements), mode.redis_url)
            recording = walk.record()
        # It has stopped, and stored what was counted.
        seen |= {each.name for each in statements.sent} | recording.seen.keys()
    assert statements_of_the_api() - seen <= NOT_FOR_BOUND.keys()


def statements_of_the_api() -> set[str]:
    """The names of the statements that the modules of `api/` import."""
    found = {"search_candidates"}
    for module in pkgutil.iter_modules(api.__path__, "api."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, TextClause) and (name := NAME.search(value.text)):
                found.add(name.group(1))
            elif inspect.isfunction(value) and value.__module__.startswith("db."):
                found |= set(NAME.findall(inspect.getsource(value)))
    return found
