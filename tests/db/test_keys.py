"""Keys in the store: who sees them, and what of them can be changed by whom."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import api_engine, worker_engine
from db.keys import By, revoke_key, rotate_key
from db.queries.keys import ANY_API_KEY, API_KEY, NOTE_USE, keys_page
from db.sessions import bound_to, operator_transaction, tenant_transaction
from memory.errors import ForeignTenantError, KeyNotFoundError, StateConflictError
from memory.keys import IssuedKey, Rotation, digest_of
from memory.settings import Settings
from tests.db.rows import add_key

EVERY_KEY = text("select id from api_keys")
TEST = By("test")
USED = text("select last_used_at from api_keys where id = :id")


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


def rotate(owner: Connection, key_id: UUID, **how: Any) -> IssuedKey:
    return rotate_key(owner, key_id, Rotation(**how), TEST)


async def test_only_an_operator_sees_keys(engine: AsyncEngine, owner: Connection) -> None:
    made = add_key(owner)
    async with tenant_transaction(engine, ["acme"]) as connection:
        assert (await connection.scalars(EVERY_KEY)).all() == []
        changed = await connection.execute(text("update api_keys set revoked_at = now()"))
        assert changed.rowcount == 0
    async with operator_transaction(engine) as connection:
        assert (await connection.scalars(EVERY_KEY)).all() == [made.id]
    with bound_to(frozenset({"acme"})), pytest.raises(ForeignTenantError):
        async with operator_transaction(engine):
            pass


async def test_the_door_finds_a_key_by_all_of_its_digest(
    engine: AsyncEngine, owner: Connection
) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(ANY_API_KEY) is False
        await connection.rollback()
        made, other = add_key(owner), add_key(owner)
        assert await connection.scalar(ANY_API_KEY) is True
        digest = digest_of(made.key)
        (row,) = await connection.execute(API_KEY, {"digest": digest})
        assert row.id == made.id != other.id
        for wrong in (b"", digest[:31], digest + b"\0", digest_of("x")):
            assert (await connection.execute(API_KEY, {"digest": wrong})).all() == []


async def test_a_key_is_never_deleted_by_the_api(engine: AsyncEngine, owner: Connection) -> None:
    add_key(owner)
    for statement in ("delete from api_keys", "truncate api_keys"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with operator_transaction(engine) as connection:
                await connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    ["select * from api_keys", "select any_api_key()", r"select * from api_key('\x00'::bytea)"],
)
def test_a_worker_has_nothing_to_do_with_keys(
    settings: Settings, owner: Connection, statement: str
) -> None:
    add_key(owner)
    engine = worker_engine(settings)
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(
    "change", ["scopes = '{}'", "scopes = '{root}'", "tenants = '{}'", r"digest = '\x00'"]
)
def test_what_a_row_cannot_be(owner: Connection, change: str) -> None:
    add_key(owner)
    with pytest.raises(IntegrityError):
        owner.execute(text(f"update api_keys set {change}"))


def test_a_use_is_noted_once_a_minute(owner: Connection) -> None:
    one, other = add_key(owner).id, add_key(owner).id
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def note(key_id: UUID, seconds: float) -> Any:
        owner.execute(NOTE_USE, {"ids": [key_id], "times": [noon + timedelta(seconds=seconds)]})
        return (owner.scalar(USED, {"id": key_id}) - noon).total_seconds()

    # What comes late, from another process, takes nothing back.
    assert [note(one, at) for at in (0, 59, -120, 60, 119, 121)] == [0, 0, 0, 60, 60, 121]
    assert owner.scalar(USED, {"id": other}) is None


def test_what_was_not_done_is_not_recorded(owner: Connection) -> None:
    made = add_key(owner)
    assert revoke_key(owner, made.id, TEST).state == "revoked"
    assert revoke_key(owner, made.id, TEST).state == "revoked"
    with pytest.raises(StateConflictError, match="is revoked"):
        rotate(owner, made.id)
    with pytest.raises(KeyNotFoundError):
        rotate(owner, UUID(int=0))
    with pytest.raises(KeyNotFoundError):
        revoke_key(owner, UUID(int=0), TEST)
    actions = owner.scalars(text("select action from audit_log order by id")).all()
    assert actions == ["create_key", "revoke_key"]


def test_grace_never_lengthens_a_life(owner: Connection) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    made = add_key(owner, expires_at=soon)
    rotate(owner, made.id, grace_seconds=3600)
    ends = owner.scalar(text("select expires_at from api_keys where id = :id"), {"id": made.id})
    assert ends == soon


def test_a_key_that_has_just_expired_is_listed_among_the_ended(owner: Connection) -> None:
    made = add_key(owner)
    new = rotate(owner, made.id, grace_seconds=0)
    for ended, ids in ((False, [new.id]), (True, [new.id, made.id])):
        assert owner.scalars(keys_page("acme", ended, None, 9)).all() == ids


def test_a_digest_is_one_keys(owner: Connection) -> None:
    add_key(owner)
    add_key(owner)
    with pytest.raises(DBAPIError, match="unique"):
        owner.execute(text("update api_keys set digest = (select digest from api_keys limit 1)"))
