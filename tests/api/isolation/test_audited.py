"""Every handler says whom it is for; what is done as an admin, or refused, is recorded."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from sqlalchemy import Connection, text

from api.app import create_app
from api.door import PUBLIC
from api.plain import Plain
from memory.keys import digest_of, name_of
from memory.settings import Settings
from tests.api.isolation.attacking import Attacker
from tests.api.isolation.operations import OPERATIONS, Place, takes_tenant
from tests.api.isolation.planted import MINE, OPERATOR, Planted, begin_anew
from tests.api.isolation.statements import Statements
from tests.conftest import serving

CHANGES = [
    place
    for place, operation in OPERATIONS.items()
    if operation.access in {"admin", "operator"} and place[0] != "get"
]
UNDOCUMENTED = {("get", "/metrics"): {"access": "admin", "all_tenants": True}}
SAID = {
    "public": {},
    "read": {"access": "read"},
    "write": {"access": "write"},
    "admin": {"access": "admin"},
    "operator": {"access": "admin", "all_tenants": True},
}


def routes(settings: Settings) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Each route of the application, with what its handler says of access."""
    plain = create_app(settings)._app
    assert isinstance(plain, Plain)
    app = plain.framework
    assert isinstance(app, Litestar)
    for route in app.routes:
        assert isinstance(route, HTTPRoute), route.path
        for handler in route.route_handlers:
            said = {name: handler.opt.get(name) for name in ("access", "all_tenants")}
            known = {name: value for name, value in said.items() if value is not None}
            for method in handler.http_methods - {"OPTIONS"}:
                yield (method.lower(), route.path_format), known


def test_every_handler_says_whom_it_is_for(service: Settings) -> None:
    found = dict(routes(msgspec.structs.replace(service, metrics_public=False)))
    for place, said in found.items():
        public = any(place[1] == each or place[1].startswith(f"{each}/") for each in PUBLIC)
        assert public != bool(said), place
        if not place[1].startswith("/docs"):
            expected = UNDOCUMENTED.get(place) or SAID[OPERATIONS[place].access]
            assert said == expected, place
    assert found.keys() >= OPERATIONS.keys()


def ready(owner: Connection, planted: Planted) -> None:
    """Have each change find what it is for, and no other in its way."""
    begin_anew(owner, planted.mine)
    live = "update api_keys set revoked_at = null, expires_at = null, replaced_by = null"
    owner.execute(text(f"{live} where id = cast(:id as uuid)"), {"id": planted.mine.key})
    owner.execute(text("update jobs set state = 'completed' where unique_key is not null"))
    left = "insert into embedding_models (name, dimensions) values ('left', 8)"
    owner.execute(text(f"{left} on conflict do nothing"))


@pytest.mark.parametrize("place", CHANGES, ids=" ".join)
def test_what_is_done_as_an_admin_is_recorded(attacked: Attacker, place: Place) -> None:
    owner, key = attacked.owner, OPERATOR
    for aim in (attacked.own, attacked.own.at(None)):
        if aim.tenant is None and not attacked.may_leave_out_tenant(place):
            continue
        for call in OPERATIONS[place].calls(aim):
            ready(owner, attacked.planted)
            response = attacked.ask(place, call, key)
            assert response.is_success, response.text
            named = {"id": response.headers["x-request-id"]}
            found = owner.execute(
                text("select * from audit_log where request_id = :id"), named
            ).all()
            assert len(found) == 1
            about_all = aim.tenant is None or OPERATIONS[place].access == "operator"
            assert found[0].tenant_id == ("*" if about_all else MINE)
            assert found[0].actor == name_of(digest_of(key))
            assert found[0].result == "done"
            assert found[0].action


def test_what_is_refused_is_recorded(
    service: Settings, store: Connection, planted: Planted, statements: Statements
) -> None:
    expected = set()
    with serving(service) as api:
        attacker = Attacker(api, store, planted, statements)
        for place in CHANGES:
            action = f"{place[0].upper()} {place[1]}"
            for call in OPERATIONS[place].calls(attacker.own):
                assert attacker.ask(place, call, planted.keys.read).status_code == 403
            expected.add(("*", name_of(digest_of(planted.keys.read)), action, "403"))
            if takes_tenant(OPERATIONS[place]):
                for call in OPERATIONS[place].calls(attacker.foreign):
                    assert attacker.ask(place, call, planted.keys.mine).status_code == 403
                expected.add(("*", name_of(digest_of(planted.keys.mine)), action, "403"))
        for call in OPERATIONS[CHANGES[0]].calls(attacker.own):
            assert attacker.ask(CHANGES[0], call, planted.keys.revoked).status_code == 401
            assert attacker.ask(CHANGES[0], call, None).status_code == 401
    revoked = name_of(digest_of(planted.keys.revoked))
    expected |= {("*", actor, "use_key", "401") for actor in (revoked, "nobody")}
    # It has stopped, and written what it had counted.
    columns = "tenant_id, actor, action, result"
    refused = f"select {columns} from audit_log where result <> 'done' and request_id is not null"
    assert {tuple(row) for row in store.execute(text(refused))} >= expected


def test_what_comes_to_nothing_is_recorded(
    service: Settings, store: Connection, planted: Planted, statements: Statements
) -> None:
    place = ("post", "/v1/jobs/{job_id}/cancel")
    with serving(service) as api:
        attacker = Attacker(api, store, planted, statements)
        for call in OPERATIONS[place].calls(attacker.foreign):
            response = attacker.ask(place, call, planted.keys.mine)
            assert response.status_code == 404
            named = {"id": response.headers["x-request-id"]}
    row = store.execute(text("select * from audit_log where request_id = :id"), named).one()
    # A foreign job is no more known in the log than in the answer.
    assert (row.tenant_id, row.result) == ("*", "404")
    assert row.details.keys() == {"address", "times"}
