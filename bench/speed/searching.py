"""The statement of a search for pgbench, and what is asked of the API."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import TextClause

from bench.speed import pgbench
from bench.speed.loading import Answered, http_request
from bench.speed.pgbench import Rate
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
# The parameters that follow from the query; all others are the same for all.
OF_ONE_QUERY = ("vector", "terms", "term_keys")
SEARCH = r"""
\set place random(0, {most})
select {columns} from bench_queries where place = :place \gset
\startpipeline
begin;
{name};
{statement};
commit;
\endpipeline
"""
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


class Legs:
    """The legs of searches by pgbench: the statement, its transaction, and no more."""

    def __init__(self, found: Service, queries: Sequence[str], vectors: Floats) -> None:
        """Lay out the queries, with their vectors, that are to be asked."""
        self._found = found
        self._vector = vectors[0]
        self._queries = len(queries)
        words = analyser("english")
        rows = []
        for query, vector in zip(queries, vectors, strict=True):
            _, given = legs(Asked(vector, words.query_terms(query)), exact=True)
            rows.append({name: literal(given[name]) for name in OF_ONE_QUERY})
        pgbench.keep(found, "bench_queries", rows)

    def find(self, messages: int, clients: int, seconds: float) -> Rate:
        """What the API would ask in a store that has so many messages, by so many clients."""
        statement, given = legs(Asked(self._vector, {}), exact=is_small(messages, messages))
        script = SEARCH.format(
            most=self._queries - 1,
            columns=", ".join(OF_ONE_QUERY),
            name=NAME_TENANTS_AND_PLAN,
            statement=statement,
        )
        common = {"tenants": TENANT, **given}
        variables = {k: literal(of) for k, of in common.items() if k not in OF_ONE_QUERY}
        return pgbench.run(self._found, script, variables, clients, seconds)


def legs(asked: Asked, *, exact: bool) -> tuple[TextClause, dict[str, Any]]:
    """The statement of a search as it is by default, with its parameters."""
    scope = SearchScope(tenant_id=TENANT)
    return search_candidates(scope, asked, 1, candidate_count(TOP_K), exact=exact)


def literal(value: Any) -> str:
    """A parameter as PostgreSQL reads it."""
    if isinstance(value, list):
        return "{" + ",".join(str(each) for each in value) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
