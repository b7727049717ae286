"""Searching, measured, in a tenant that grows from size to size."""

import statistics
from collections.abc import Iterator
from itertools import islice

import httpx

from bench.speed import model
from bench.speed.plan import Plan, told
from bench.speed.repeating import redis_get, repeat, search_target
from bench.speed.running import Api, Service, service, serving
from bench.speed.searching import Legs, search
from bench.speed.store import TENANT, Growing, mixed_questions

SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
GROWTH = {"growth-100k": ("10k", "100k"), "growth-1m": ("100k", "1m")}
CLIENTS = (1, 16)
REPEAT = "search-repeat"
FLOOR_QUERIES = 100
WHY_NOT = "a million messages are stored only with BENCH_LARGE=1"


class Searches:
    """Searches of one run, whose queries never come twice."""

    def __init__(self, plan: Plan, found: Service) -> None:
        self.plan = plan
        self.found = found
        self.queries = mixed_questions(plan.texts.questions)
        self.store = Growing(found.servers.database, plan.texts.messages)
        self.asked = list(islice(self.queries, FLOOR_QUERIES))
        self.legs = Legs(found, self.asked, self.store.embedded(self.asked))
        # The medians of one client's answers, in milliseconds, by size and round.
        self.p50: dict[str, list[float]] = {}


def measure(plan: Plan) -> None:
    """What is wanted of the ids that search."""
    sizes = list(wanted_sizes(plan))
    if "growth-1m" in plan.wanted and not plan.large:
        plan.said["growth-1m"] = WHY_NOT
    if not sizes:
        return
    with service() as found:
        # The first start of an API notes the model, which vectors refer to.
        with serving(found, [TENANT]):
            pass
        searches = Searches(plan, found)
        for size in sizes:
            searches.store.grow(SIZES[size])
            with serving(found, [TENANT]) as api:
                for _ in range(plan.rounds):
                    at_size(searches, api, size)
    for name, (small, large) in GROWTH.items():
        if name in plan.wanted and {small, large} <= searches.p50.keys():
            grown(searches, name, small, large)


def wanted_sizes(plan: Plan) -> Iterator[str]:
    """The sizes that what is wanted needs, the small ones first."""
    for size in SIZES:
        ids = [f"search-{size}-{clients}" for clients in CLIENTS]
        ids += [name for name, pair in GROWTH.items() if size in pair]
        ids += [REPEAT] if size == "10k" else []
        if size != "1m" and plan.among([*ids] if plan.large else set(ids) - {"growth-1m"}):
            yield size
        if size == "1m" and plan.large and plan.among(ids):
            yield size


def at_size(searches: Searches, api: Api, size: str) -> None:
    """A round of all that is wanted while the store has this size."""
    plan = searches.plan
    for clients in CLIENTS:
        name = f"search-{size}-{clients}"
        growth = clients == 1 and any(size in pair for pair in GROWTH.values())
        if name in plan.wanted or (growth and plan.among(GROWTH)):
            distinct(searches, api, size, clients)
    if size == "10k" and REPEAT in plan.wanted:
        repeated(searches, api)


def distinct(searches: Searches, api: Api, size: str, clients: int) -> None:
    """Searches that differ, beside the model and the legs' SQL, one after the other for each."""
    plan, name = searches.plan, f"search-{size}-{clients}"
    answered = search(api, searches.queries, clients, plan.seconds)
    if clients == 1:
        searches.p50.setdefault(size, []).append(answered.milliseconds(0.5))
    if name not in plan.wanted:
        return
    embedding = model.alone(searches.asked, clients, min(plan.seconds, 3.0))
    legs = searches.legs.find(SIZES[size], clients, plan.seconds)
    # Each alone has all processors; together they share them, so their times add up.
    floor = 1 / (1 / embedding.per_second + 1 / legs.per_second)
    beside = f"model {embedding.per_second:,.0f} texts/s, legs {legs.per_second:,.0f}/s"
    cpu = f"{legs.told}, model {1e3 * embedding.busy_ms:,.0f}"
    plan.note(name, answered.per_second, floor, f"{told(answered)}; {beside}; {cpu}")


def repeated(searches: Searches, api: Api) -> None:
    """The same search again and again, beside a GET of as many bytes."""
    plan = searches.plan
    query = next(searches.queries)
    target = f"{api.url}{search_target(TENANT, query)}"
    size = len(httpx.get(target, headers=dict(api.headers)).content)
    answered = repeat(api, TENANT, query, 16, plan.seconds)
    floor = redis_get(searches.found, size, 16, plan.seconds)
    plan.note(REPEAT, answered.per_second, floor.per_second, told(answered))


def grown(searches: Searches, name: str, small: str, large: str) -> None:
    """How many times as long one client's search takes in the larger store, round by round."""
    before, after = searches.p50[small], searches.p50[large]
    said = f"p50 {statistics.median(before):.1f} and {statistics.median(after):.1f} ms"
    for one, other in zip(before, after, strict=True):
        searches.plan.note(name, other / one, said=said)
