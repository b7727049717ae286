"""The statement of a search for pgbench, and what is asked of the API."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from bench.speed import pgbench
from bench.speed.loading import Answered, http_request
from bench.speed.pgbench import Rate, Script
from bench.speed.repeating import search_target
from bench.speed.running import Api, Service
from bench.speed.store import TENANT, Floats
from db.queries.scopes import is_small
from db.queries.search import Asked, search_candidates
from db.sessions import NAME_TENANTS_AND_PLAN
from memory.lexical.analysis import analyser
from memory.ranking import candidate_count
from memory.search import SearchScope

TOP_K = 5
# A variable, and no cast.
VARIABLE = re.compile(r"(?<!:):(\w+)")
# More than any machine answers in the time of a round.
A_SECOND = 1_000


def search(api: Api, queries: Iterator[str], clients: int, seconds: float) -> Answered:
    """Ask what nobody has asked before, by so many clients."""
    many = int(A_SECOND * (seconds + 2))
    targets = [search_target(TENANT, query) for query in islice(queries, many)]
    requests = [http_request(api.url, "GET", each, api.headers) for each in targets]
    answered = api.loader.send(requests, clients, seconds)
    if answered.heard.sent > many:
        raise ValueError("queries were asked twice")
    return answered


def find(
    found: Service,
    queries: Sequence[str],
    vectors: Floats,
    messages: int,
    clients: int,
    seconds: float,
) -> Rate:
    """The legs of the same search by pgbench: the statement, its transaction, and no more."""
    return pgbench.run(found, search_scripts(queries, vectors, messages), clients, seconds)


def search_scripts(queries: Sequence[str], vectors: Floats, messages: int) -> list[Script]:
    """One a query, as the API would ask in a store that has so many messages."""
    exact = is_small(messages, messages)
    words = analyser("english")
    scripts = []
    for n, (query, vector) in enumerate(zip(queries, vectors, strict=True)):
        statement, parameters = search_candidates(
            SearchScope(tenant_id=TENANT),
            Asked(vector, words.query_terms(query)),
            1,
            candidate_count(TOP_K),
            exact=exact,
        )
        named = str(NAME_TENANTS_AND_PLAN)
        given = {"tenants": TENANT, **parameters}
        steps = ("\\startpipeline", "begin;", f"{named};", f"{statement};", "commit;")
        text = VARIABLE.sub(rf":\1_{n}", "\n".join([*steps, "\\endpipeline", ""]))
        scripts.append(Script(text, {f"{name}_{n}": literal(of) for name, of in given.items()}))
    return scripts


def literal(value: Any) -> str:
    """A parameter as PostgreSQL reads it."""
    if isinstance(value, list):
        return "{" + ",".join(str(each) for each in value) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
