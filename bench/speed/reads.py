"""Searching, measured, in a tenant that grows from round to round."""

import httpx

from bench.speed.plan import Plan, told
from bench.speed.repeating import redis_get, repeat, search_target
from bench.speed.running import service, serving
from bench.speed.store import TENANT, Growing

SMALL = 10_000


def measure(plan: Plan) -> None:
    """What is wanted of the ids that search."""
    if not plan.among(["search-repeat"]):
        return
    with service() as found:
        # The first start of an API notes the model, which vectors refer to.
        with serving(found, [TENANT]):
            pass
        store = Growing(found.servers.database, plan.texts.messages)
        store.grow(SMALL)
        with serving(found, [TENANT]) as api:
            query = plan.texts.questions[0]
            target = f"{api.url}{search_target(TENANT, query)}"
            size = len(httpx.get(target, headers=dict(api.headers)).content)
            for _ in range(plan.rounds):
                answered = repeat(api, TENANT, query, 16, plan.seconds)
                floor = redis_get(found, size, 16, plan.seconds)
                plan.note("search-repeat", answered.per_second, floor.per_second, told(answered))
