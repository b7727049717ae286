"""When a key was used last: noted beside the requests, once a minute, and at the end."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from memory.settings import Settings
from tests.api.issuing import closed, issue, listed, opens
from tests.api.outages import no_database
from tests.conftest import serving
from tests.processes import wait_until

LONG_AGO = text("update api_keys set last_used_at = now() - interval '61 s'")
USED = text("select last_used_at from api_keys where id = :id")
HOLD = text("select id from api_keys for update")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses are noted ten times a second."""
    monkeypatch.setattr("api.known_keys.NOTE_SECONDS", 0.1)


def used(owner: Connection, key: dict[str, Any]) -> datetime | None:
    """When a key was used last, as it is stored."""
    moment: datetime | None = owner.scalar(USED, {"id": UUID(key["id"])})
    return moment


def shown(api: httpx.Client, key: dict[str, Any]) -> Any:
    """The same as the list shows it."""
    return next(each["last_used_at"] for each in listed(api) if each["id"] == key["id"])


def test_a_use_is_noted_once_a_minute(settings: Settings, owner: Connection, quick: None) -> None:
    with serving(closed(settings)) as api:
        key, idle = issue(api), issue(api)
        assert shown(api, key) is None
        began = datetime.now(UTC)
        assert opens(api, key)
        wait_until(lambda: used(owner, key), "it is noted")
        first = used(owner, key)
        assert first
        assert began <= first <= datetime.now(UTC)
        assert shown(api, key)
        # Others are noted all the while, and this one is used too.
        other = issue(api)
        assert opens(api, key)
        assert opens(api, other)
        wait_until(lambda: used(owner, other), "the other is noted")
        assert used(owner, key) == first
        owner.execute(LONG_AGO)
        assert opens(api, key)
        wait_until(lambda: (used(owner, key) or first) > first, "it is noted again")
        assert used(owner, idle) is not None
        assert (used(owner, idle) or first) < first


def test_the_last_uses_are_noted_at_the_end(settings: Settings, owner: Connection) -> None:
    with serving(closed(settings)) as api:
        key = issue(api)
        assert opens(api, key)
        assert used(owner, key) is None
    assert used(owner, key)


def test_a_key_that_did_not_open_was_not_used(settings: Settings, owner: Connection) -> None:
    with serving(closed(settings)) as api:
        key = issue(api)
        api.delete(f"/v1/admin/keys/{key['id']}", headers={"x-api-key": "operator-one"})
        assert not opens(api, key)
    assert used(owner, key) is None


def test_no_request_waits_for_it(settings: Settings, owner: Connection, quick: None) -> None:
    waits = text("select count(*) from pg_stat_activity where query like '%note_use%'")
    with serving(closed(settings)) as api:
        key = issue(api)
        with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as held:
            held.execute(HOLD)
            assert opens(api, key)
            wait_until(lambda: owner.scalar(waits), "the note waits")
            # It waits as long as this does: longer than any client.
            for _ in range(10):
                assert opens(api, key)
        wait_until(lambda: used(owner, key), "it is noted after all")


def test_what_the_database_did_not_take_is_noted_later(
    settings: Settings, owner: Connection, quick: None
) -> None:
    with serving(closed(settings)) as api, capture_logs() as logged:
        one, other = issue(api), issue(api)
        owner.execute(text("alter table api_keys rename column last_used_at to gone"))
        assert opens(api, one)

        def put_off() -> bool:
            return any(line["event"] == "key_uses_put_off" for line in logged)

        wait_until(put_off, "it could not be noted")
        assert opens(api, other)
        owner.execute(text("alter table api_keys rename column gone to last_used_at"))
        wait_until(lambda: used(owner, one) and used(owner, other), "both are noted")
        logged.clear()
        owner.execute(LONG_AGO)
        assert opens(api, one)
        with no_database(settings.database_url):
            wait_until(put_off, "it could not be noted")
        owner.invalidate()
