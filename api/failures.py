"""Records of what was refused: wrong keys, and admin actions that came to nothing."""

from collections import Counter
from typing import NamedTuple

import structlog
from litestar.types import HTTPScope
from sqlalchemy.ext.asyncio import AsyncEngine

from api.regularly import Regularly
from db.queries.audit import INSERT_RECORD, record_parameters
from db.sessions import operator_transaction
from memory.access import Caller
from memory.jobs import ALL_TENANTS
from memory.keys import digest_of, name_of
from memory.limits import Standing

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 30.0
# Of more kinds between two times there is one record for all the others: whoever sends wrong keys
# from many addresses does not fill the log. Nor hides there what is done with good ones, of which
# there are as many kinds.
MOST_KINDS = 50
USE_KEY = "use_key"
NOBODY = "nobody"
REFUSED = frozenset({401, 403})


class Failure(NamedTuple):
    """Something that was refused, as often as it was since the last records."""

    tenant_id: str
    actor: str
    action: str
    result: str
    address: str


OTHERS = Failure(ALL_TENANTS, NOBODY, "others", "refused", "")


class Failures:
    """Counts what is refused, and records it every 30 seconds, the same things once.

    What a process that is killed has counted since is lost; the log of requests has it.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._counted: Counter[Failure] = Counter()
        self._request_ids: dict[Failure, str] = {}
        self.recording = Regularly(INTERVAL_SECONDS, self._store)

    def note(self, scope: HTTPScope, key: str, address: str, status: int, request_id: str) -> None:
        """Count the answer to a request if it says that something was refused."""
        if failure := failure_of(scope, key, address, status):
            self._count(failure, 1, request_id)

    def _count(self, failure: Failure, times: int, request_id: str) -> None:
        if failure not in self._counted and self._kinds_like(failure) >= MOST_KINDS:
            failure = OTHERS
        self._counted[failure] += times
        self._request_ids.setdefault(failure, request_id)

    def _kinds_like(self, failure: Failure) -> int:
        wrong_key = failure.action == USE_KEY
        kinds = [each for each in self._counted if (each.action == USE_KEY) == wrong_key]
        return len(kinds)

    async def _store(self) -> None:
        counted, self._counted = self._counted, Counter()
        request_ids, self._request_ids = self._request_ids, {}
        if not counted:
            return
        records = [
            record_parameters(
                failure.tenant_id,
                failure.actor,
                failure.action,
                {"address": failure.address, "times": times},
                result=failure.result,
                request_id=request_ids[failure],
            )
            for failure, times in counted.items()
        ]
        try:
            async with operator_transaction(self._engine) as connection:
                await connection.execute(INSERT_RECORD, records)
        except Exception as error:
            log.warning("failures_not_recorded", kinds=len(counted), reason=type(error).__name__)
            for failure, times in counted.items():
                self._count(failure, times, request_ids[failure])


def failure_of(scope: HTTPScope, key: str, address: str, status: int) -> Failure | None:
    """What an answer with `status` records; None for what is not refused, or of no weight."""
    caller: Caller | None = scope.get("caller")  # type: ignore[assignment]
    if caller is None:
        standing: Standing | None = scope.get("standing")  # type: ignore[assignment]
        blocked = status == 429 and standing is not None and standing.hit.kind == "auth"
        if status not in REFUSED and not blocked:
            return None
        actor = name_of(digest_of(key)) if key else NOBODY
        return Failure(ALL_TENANTS, actor, USE_KEY, str(status), address)
    handler = scope.get("route_handler")
    admin = handler is not None and handler.opt.get("access") == "admin"
    if status not in REFUSED and not (admin and status >= 400 and scope["method"] != "GET"):
        return None
    # The tenant is noted once the caller was let in to it.
    tenant_id = str(scope.get("tenant_id") or ALL_TENANTS)
    action = f"{scope['method']} {scope.get('path_template') or 'unmatched'}"
    return Failure(tenant_id, caller.name, action, str(status), address)
