"""Who is let in while the database is away, or hangs: nobody whom it would have to vouch for."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from sqlalchemy import Connection

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.issuing import EVERYTHING, OPERATOR, closed, first_key, issue, opens, sent, status
from tests.api.outages import no_database
from tests.api.test_busy import locked
from tests.conftest import serving
from tests.processes import wait_until


def test_a_service_that_is_started_without_a_database_opens_nothing(
    open_settings: Settings,
) -> None:
    with serving(open_settings) as api:
        key = first_key(api)
    with no_database(open_settings.database_url), serving(open_settings) as api:
        assert api.get("/v1/admin/live").status_code == 200
        for headers in ({}, sent(key), {"x-api-key": "wrong"}):
            for path in ("/nowhere", "/v1/jobs", "/v1/admin/keys"):
                assert_problem(api.get(path, headers=headers), 503, "unavailable")
        # While it may be open, whoever would not be served then is not served.
        strange = {**sent(key), "Host": "memory.example"}
        assert_problem(api.get("/v1/jobs", headers=strange), 403, "forbidden")
    with serving(open_settings) as api:
        assert status(api) == 401


def test_it_opens_when_the_database_comes_and_has_no_key(open_settings: Settings) -> None:
    with contextlib.ExitStack() as stack:
        with no_database(open_settings.database_url):
            api = stack.enter_context(serving(open_settings))
            assert status(api) == 503
        # For the first who asks.
        assert status(api) == 404


def test_it_closes_when_the_database_comes_and_has_a_key(open_settings: Settings) -> None:
    with serving(open_settings) as api:
        key = first_key(api)
    with contextlib.ExitStack() as stack:
        with no_database(open_settings.database_url):
            api = stack.enter_context(serving(open_settings))
            assert status(api) == 503
        assert status(api) == 401
        assert opens(api, key)


def test_without_the_database_no_key_is_guessed_at(settings: Settings) -> None:
    private = closed(settings, metrics_public=False)
    with serving(private) as api:
        key, unknown = issue(api, **EVERYTHING), {"key": "aiml_" + "A" * 43}
        assert opens(api, key)
        assert not opens(api, unknown)
        assert opens(api, key)
        with no_database(settings.database_url):
            assert status(api, **sent(unknown)) == 503
            # What was known is for two seconds, though it is used all the while.
            wait_until(lambda: status(api, **sent(key)) == 503, "it is known no more")
            for path in ("/nowhere", "/v1/jobs", "/metrics"):
                for each in (key, unknown):
                    assert_problem(api.get(path, headers=sent(each)), 503, "unavailable")
            # An operator's needs no database, and what cannot be a key is none.
            assert status(api, **OPERATOR) == 404
            assert api.get("/metrics", headers=OPERATOR).status_code == 200
            assert status(api, **{"x-api-key": "wrong"}) == status(api) == 401
            assert status(api, **{"x-api-key": "aiml_" + "A" * 44}) == 401
        assert opens(api, key)
        assert not opens(api, unknown)


def test_a_database_that_hangs_is_not_waited_for(settings: Settings, owner: Connection) -> None:
    with serving(closed(settings)) as api:
        keys = [issue(api) for _ in range(6)]
        began = time.monotonic()
        with locked(owner, "api_keys"), ThreadPoolExecutor(len(keys)) as threads:

            def ask(key: dict[str, Any]) -> httpx.Response:
                return httpx.get(f"{api.base_url}/nowhere", headers=sent(key), timeout=30)

            for answer in threads.map(ask, keys):
                assert_problem(answer, 503, "unavailable")
            assert time.monotonic() - began < 20
            # It has let go of the connections that the probes need too.
            assert api.get("/v1/admin/health").json()["database"] == "up"
        assert opens(api, keys[0])
