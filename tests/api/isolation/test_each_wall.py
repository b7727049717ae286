"""Who names a tenant is let in twice, by the handler and by the transaction: each by itself."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import Connection, text

from api.ingest import Ingest
from api.storing import Request
from db.engine import api_engine, worker_engine
from db.sessions import (
    bound_to,
    operator_transaction,
    see_as_api,
    tenant_transaction,
    visible_tenants,
    visible_transaction,
)
from memory.errors import ForeignTenantError
from memory.messages import NewMessage, accept
from memory.settings import Settings
from memory.tenants import TenantSettings, effective
from tests.api.isolation.attacking import Attacker
from tests.api.isolation.operations import OPERATIONS, takes_tenant
from tests.api.isolation.planted import ALSO_MINE, MINE, NOBODY, VICTIM, Planted
from tests.api.isolation.statements import Statements
from tests.conftest import serving

LIMIT = 1_000_003
OF_A_TENANT = [
    place
    for place, operation in OPERATIONS.items()
    if operation.access not in {"public", "operator"}
    and (takes_tenant(operation) or "{job_id}" in place[1])
]
WHO = text("select current_user")
SEEN = text("select tenant_id from messages")
FOREIGN = ([VICTIM], [NOBODY], [MINE, VICTIM], ["*"], [f"{MINE},{VICTIM}"])


def test_every_handler_lets_in_to_the_tenant(
    service: Settings, store: Connection, planted: Planted, statements: Statements
) -> None:
    """To be let in is to be counted: the answer tells of the tenant's limit."""
    limited = msgspec.structs.replace(service, tenant_rate_limit=f"{LIMIT}/hour")
    with serving(limited) as api:
        attacker = Attacker(api, store, planted, statements)
        for place in OF_A_TENANT:
            for answer in attacker.answers(place, attacker.own, planted.keys.mine):
                assert answer.headers.get("x-ratelimit-limit") == str(LIMIT), place
            for answer in attacker.answers(place, attacker.foreign, planted.keys.mine):
                assert "x-ratelimit-limit" not in answer.headers, place


async def test_no_transaction_names_a_foreign_tenant(service: Settings) -> None:
    engine = api_engine(service)
    with bound_to(frozenset({MINE, ALSO_MINE})):
        for tenants in FOREIGN:
            with pytest.raises(ForeignTenantError):
                async with tenant_transaction(engine, tenants):
                    pass
        with pytest.raises(ForeignTenantError):
            async with operator_transaction(engine):
                pass
        async with visible_transaction(engine) as connection:
            assert set(await connection.scalars(SEEN)) == {MINE, ALSO_MINE}
        assert visible_tenants() == [ALSO_MINE, MINE]
        async with tenant_transaction(engine, [MINE]):
            pass
    assert visible_tenants() is None
    await engine.dispose()


def test_no_thread_sees_a_foreign_tenant(service: Settings) -> None:
    engine = worker_engine(service)
    with bound_to(frozenset({MINE})), engine.connect() as connection:
        for tenant_id in (VICTIM, NOBODY, "*"):
            with pytest.raises(ForeignTenantError):
                see_as_api(connection, tenant_id)
        see_as_api(connection, MINE)
        assert connection.scalar(WHO) == "memory_api"
        assert set(connection.scalars(SEEN)) == {MINE}
    engine.dispose()


async def test_what_is_stored_together_is_of_the_callers_tenants(service: Settings) -> None:
    """The writers know no caller, so it is looked at before."""
    engine = api_engine(service)
    new = NewMessage(tenant_id=VICTIM, conversation_id="c", role="user", content="Mine now.")
    now, settings = datetime.now(UTC), effective(service, TenantSettings())
    foreign = (new, accept(new, "pending", now, 0.0, settings))
    request = Request(messages=[foreign], terms=[], markers=[0.0], analysers={})
    with bound_to(frozenset({MINE})), pytest.raises(ForeignTenantError):
        async with asyncio.timeout(5):
            await Ingest(engine).store(request)
    await engine.dispose()
