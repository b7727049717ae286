"""How a key ends: replaced, with or without a time of grace, or revoked."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.answers import assert_problem, moment
from tests.api.issuing import in_seconds, issue, listed, opens, records, revoke, rotate, sent
from tests.processes import wait_until


def together(*actions: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """The answers to what is asked for at the same moment."""
    start = threading.Barrier(len(actions))

    def act(action: Callable[[], httpx.Response]) -> httpx.Response:
        start.wait(10)
        return action()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(act, actions))


def test_rotation_gives_a_key_that_may_do_the_same(guarded: httpx.Client) -> None:
    given = {"scopes": ["read"], "label": "reader", "rate_limit": "99/minute"}
    old = issue(guarded, "a", "b", **given, expires_at=in_seconds(3600))
    answer = rotate(guarded, old)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    new = answer.json()
    assert new["key"] != old["key"]
    for name in ("tenants", "scopes", "label", "rate_limit"):
        assert new[name] == old[name]
    # It lives as long as the old one was made to.
    lives = moment(new["expires_at"]) - moment(new["created_at"])
    assert abs(lives - timedelta(hours=1)) < timedelta(seconds=10)
    assert opens(guarded, old)
    assert opens(guarded, new)
    (kept,) = (key for key in listed(guarded) if key["id"] == old["id"])
    assert kept["replaced_by"] == new["id"]
    # A day of grace does not lengthen a life that ends sooner.
    assert kept["expires_at"] == old["expires_at"]
    (record,) = records(guarded, "rotate_key", new)
    assert record["details"]["replaces"] == old["name"]


def test_after_the_time_of_grace_the_old_key_is_none(guarded: httpx.Client) -> None:
    old = issue(guarded)
    new = rotate(guarded, old, grace_seconds=1).json()
    assert new["expires_at"] is None
    assert opens(guarded, old)
    wait_until(lambda: not opens(guarded, old), "the grace is over")
    answer = guarded.get("/nowhere", headers=sent(old))
    assert "has expired" in assert_problem(answer, 401, "unauthorized")["detail"]
    assert opens(guarded, new)


def test_without_grace_the_old_key_is_none_at_once(guarded: httpx.Client) -> None:
    old = issue(guarded)
    assert opens(guarded, old)
    ends = in_seconds(1800)
    new = rotate(guarded, old, grace_seconds=0, expires_at=ends).json()
    assert not opens(guarded, old)
    assert opens(guarded, new)
    assert moment(new["expires_at"]) == datetime.fromisoformat(ends)


@pytest.mark.parametrize("end", ["replaced", "revoked", "expired"])
def test_a_key_that_has_ended_is_not_rotated(guarded: httpx.Client, end: str) -> None:
    old = issue(guarded)
    if end == "replaced":
        reason = rotate(guarded, old).json()["id"]
    else:
        reason = end
        done = revoke(guarded, old) if end == "revoked" else rotate(guarded, old, grace_seconds=0)
        assert done.is_success
    problem = assert_problem(rotate(guarded, old), 409, "conflict")
    assert reason in problem["detail"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("grace_seconds", value) for value in (-1, 30 * 86_400 + 1, 1.5, "1", None)),
        *(("expires_at", value) for value in ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00")),
        ("tenants", ["*"]),
        ("scopes", ["admin"]),
    ],
)
def test_a_rotation_that_cannot_be(guarded: httpx.Client, field: str, value: Any) -> None:
    old = issue(guarded)
    assert_problem(rotate(guarded, old, **{field: value}), 400, "invalid-request", field)
    assert rotate(guarded, old).status_code == 201


def test_no_such_key(guarded: httpx.Client) -> None:
    unknown = {"id": str(uuid4())}
    for answer in (rotate(guarded, unknown), revoke(guarded, unknown)):
        assert assert_problem(answer, 404, "not-found")["detail"] == "No such key."
    for answer in (rotate(guarded, {"id": "x"}), revoke(guarded, {"id": "aiml_x"})):
        assert_problem(answer, 400, "invalid-request", "key_id")


def test_to_revoke_again_changes_nothing(guarded: httpx.Client) -> None:
    key = issue(guarded)
    assert opens(guarded, key)
    first = revoke(guarded, key)
    assert (first.status_code, first.json()["state"]) == (200, "revoked")
    assert "key" not in first.json()
    assert not opens(guarded, key)
    answer = guarded.get("/nowhere", headers=sent(key))
    assert "was revoked" in assert_problem(answer, 401, "unauthorized")["detail"]
    assert revoke(guarded, key).json() == first.json()
    assert len(records(guarded, "revoke_key", key)) == 1


def test_of_rotations_at_once_one_wins(guarded: httpx.Client) -> None:
    old = issue(guarded)
    answers = together(*[lambda: rotate(guarded, old)] * 6)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    (new,) = (answer.json() for answer in answers if answer.status_code == 201)
    (kept,) = (key for key in listed(guarded) if key["id"] == old["id"])
    assert kept["replaced_by"] == new["id"]


def test_rotated_and_revoked_at_once_it_ends_in_any_case(guarded: httpx.Client) -> None:
    for _ in range(5):
        old = issue(guarded)
        rotated, revoked = together(partial(rotate, guarded, old), partial(revoke, guarded, old))
        assert (revoked.status_code, rotated.status_code in {201, 409}) == (200, True)
        assert not opens(guarded, old)
        if rotated.is_success:
            # Which was asked for, and is seen in the list.
            assert opens(guarded, rotated.json())
        else:
            assert "is revoked" in rotated.json()["detail"]
