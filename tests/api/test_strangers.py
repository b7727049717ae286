"""What strangers send takes nothing from those who have keys."""

import pytest
from sqlalchemy import Connection, text

from api.failures import MOST_KINDS
from memory.settings import Settings
from tests.api.issuing import KEYS, OPERATOR, closed, issue, revoke, rotate, sent
from tests.conftest import serving

JOBS = "/v1/jobs"
RECORDS = text("select actor, action, result from audit_log where result = '403'")


@pytest.mark.parametrize("used_before", [True, False])
def test_a_key_that_has_ended_keeps_no_neighbour_out(settings: Settings, used_before: bool) -> None:
    with serving(closed(settings, auth_failure_limit="3/hour")) as api:
        old, neighbours = issue(api), issue(api)
        if used_before:
            assert api.get(JOBS, headers=sent(old)).status_code == 200
        new = rotate(api, old, grace_seconds=0).json()
        if not used_before:
            revoke(api, old)
        for _ in range(8):
            assert api.get(JOBS, headers=sent(old)).status_code == 401
        for key in (new, neighbours):
            assert api.get(JOBS, headers=sent(key)).status_code == 200


def test_wrong_keys_hide_no_refusal_of_a_good_one(settings: Settings, owner: Connection) -> None:
    with serving(closed(settings)) as api:
        bound = issue(api, "acme", scopes=["admin"])
        for number in range(MOST_KINDS + 5):
            wrong = {"x-api-key": f"wrong-{number}"}
            assert api.get(JOBS, headers=wrong).status_code == 401
        assert api.get(KEYS, headers=sent(bound)).status_code == 403
        assert api.get(KEYS, headers=OPERATOR).status_code == 200
    found = owner.execute(RECORDS).all()
    assert [tuple(row) for row in found] == [(bound["name"], f"GET {KEYS}", "403")]
