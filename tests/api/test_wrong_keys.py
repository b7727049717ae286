"""Whoever sends wrong keys waits longer and longer, and then for a time gets no answer to any."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.issuing import OPERATOR, OPERATOR_KEY, closed, issue, sent
from tests.conftest import serving

WRONG = {"x-api-key": "wrong"}
SECOND = {"x-api-key": "operator-two"}
JOBS = "/v1/jobs"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for an answer."""
    monkeypatch.setattr("api.entrance.FIRST_WAIT_SECONDS", 0.0)


@contextmanager
def serving_behind(settings: Settings, limit: str) -> Iterator[httpx.Client]:
    """A service behind a proxy, so that a test has as many addresses as it likes."""
    keys = f"{OPERATOR_KEY},{SECOND['x-api-key']}"
    given = closed(settings, api_keys=keys, trusted_proxies="127.0.0.1", auth_failure_limit=limit)
    with serving(given) as client:
        yield client


def ask(api: httpx.Client, headers: dict[str, str], address: str = "203.0.113.9") -> httpx.Response:
    """The answer to one who comes from `address`."""
    return api.get(JOBS, headers={**headers, "X-Forwarded-For": address})


def assert_blocked(answer: httpx.Response) -> int:
    """The seconds to wait, of a 429 that is about wrong keys."""
    problem = assert_problem(answer, 429, "too-many-requests")
    assert problem["detail"].startswith("Too many wrong keys from this address: the limit is ")
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= int(answer.headers["x-ratelimit-reset"])
    return wait


def test_each_wrong_key_is_answered_later(settings: Settings) -> None:
    with serving_behind(settings, "50/hour") as api:

        def seconds() -> float:
            began = time.monotonic()
            assert ask(api, WRONG).status_code == 401
            return time.monotonic() - began

        taken = [seconds() for _ in range(8)]
        assert min(taken[:4]) < 0.1
        for number, least in enumerate([0.1, 0.2, 0.4, 0.8], 4):
            assert taken[number] >= least, taken
        with ThreadPoolExecutor(1) as thread:
            slow = thread.submit(seconds)
            # Nobody else waits: not who has a good key, nor who comes from elsewhere.
            assert ask(api, OPERATOR).status_code == 200
            assert ask(api, WRONG, "198.51.100.7").status_code == 401
            assert not slow.done()
            assert slow.result() >= 1.6
        # Twice as long each time, it would be more than three, and more than six.
        assert [2 <= seconds() < 5 for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    "wrong", [WRONG, {"Authorization": "Bearer wrong"}, {"x-api-key": "aiml_" + "A" * 43}]
)
def test_who_sends_too_many_is_blocked(
    settings: Settings, hasty: None, wrong: dict[str, str]
) -> None:
    with serving_behind(settings, "3/hour") as api:
        for _ in range(3):
            assert_problem(ask(api, wrong), 401, "unauthorized")
        assert 3600 / 64 * 63 < assert_blocked(ask(api, wrong)) <= 3600 / 64 * 65 + 1
        # Not even a good key says that it is one, if it has never been good from there.
        assert_blocked(ask(api, OPERATOR))
        assert ask(api, OPERATOR, "198.51.100.7").status_code == 200
        assert_problem(ask(api, wrong, "198.51.100.7"), 401, "unauthorized")
        # What takes no key is answered.
        assert ask(api, {}).status_code == 401
        away = {"X-Forwarded-For": "203.0.113.9"}
        assert api.get("/docs", headers=away).status_code == 200


def test_a_key_that_was_good_from_there_goes_on(settings: Settings, hasty: None) -> None:
    with serving_behind(settings, "3/hour") as api:
        known, other, fresh = issue(api), issue(api), issue(api)
        assert ask(api, sent(known)).status_code == 200
        assert ask(api, sent(other), "198.51.100.7").status_code == 200
        assert ask(api, OPERATOR).status_code == 200
        for _ in range(3):
            ask(api, WRONG)
        for _ in range(3):
            assert ask(api, sent(known)).status_code == ask(api, OPERATOR).status_code == 200
            # Nobody guesses a key of the store: neighbours of who is blocked go on.
            assert ask(api, sent(other)).status_code == ask(api, sent(fresh)).status_code == 200
            assert_blocked(ask(api, WRONG))
            assert_blocked(ask(api, {"x-api-key": "aiml_" + "A" * 43}))
            # The settings' keys may be short, and were not good from there before.
            assert_blocked(ask(api, SECOND))


def test_the_block_ends(settings: Settings, hasty: None) -> None:
    with serving_behind(settings, "2/2 seconds") as api:
        for _ in range(2):
            ask(api, WRONG)
        time.sleep(assert_blocked(ask(api, OPERATOR)))
        assert ask(api, OPERATOR).status_code == 200
        assert_problem(ask(api, WRONG), 401, "unauthorized")


def test_who_sends_none_has_sent_no_wrong_one(settings: Settings) -> None:
    with serving_behind(settings, "2/hour") as api:
        none: list[dict[str, Any]] = [{}, {"x-api-key": ""}, {"Authorization": "Basic eDp5"}]
        for headers in none * 3:
            answer = ask(api, headers)
            assert_problem(answer, 401, "unauthorized")
            assert "x-ratelimit-limit" not in answer.headers
        assert ask(api, OPERATOR).status_code == 200


def test_a_key_without_leave_is_no_wrong_one(settings: Settings) -> None:
    with serving_behind(settings, "2/hour") as api:
        bound = issue(api, scopes=["read"])
        for _ in range(3):
            assert ask(api, sent(bound)).status_code == 200
            away = {**sent(bound), "X-Forwarded-For": "203.0.113.9"}
            assert api.get("/v1/admin/keys", headers=away).status_code == 403
            assert api.get("/nowhere", headers=away).status_code == 404


def test_who_is_blocked_at_one_process_is_at_the_others(settings: Settings, hasty: None) -> None:
    shared = msgspec.structs.replace(
        settings, api_keys=OPERATOR_KEY, auth_failure_limit="4/hour", trusted_proxies="127.0.0.1"
    )
    with serving(shared) as here, serving(shared) as there:
        assert ask(there, OPERATOR).status_code == 200
        for api in (here, there, here, there):
            assert_problem(ask(api, WRONG), 401, "unauthorized")
        for api in (here, there):
            assert_blocked(ask(api, WRONG))
        assert ask(there, OPERATOR).status_code == 200
        assert ask(here, OPERATOR, "198.51.100.7").status_code == 200


def test_without_a_limit_nobody_waits(settings: Settings) -> None:
    with serving_behind(settings, "") as api:
        began = time.monotonic()
        for _ in range(30):
            answer = ask(api, WRONG)
            assert_problem(answer, 401, "unauthorized")
            assert "x-ratelimit-limit" not in answer.headers
        assert time.monotonic() - began < 5
