"""A search that was asked a moment ago, beside a GET of Redis of as many bytes."""

from urllib.parse import unquote, urlencode, urlsplit

import click
import httpx
import redis

from bench.speed.loading import Answered, Loader, http_request
from bench.speed.running import Api, Service

SEARCH = "/v1/memory/search"
KEY = "bench:answer"


def search_target(tenant: str, query: str) -> str:
    """The path and query string of a search as it is by default."""
    return f"{SEARCH}?{urlencode({'tenant_id': tenant, 'query': query})}"


def repeat(api: Api, tenant: str, query: str, clients: int, seconds: float) -> Answered:
    """Ask the same again and again. Raises `click.ClickException` when no cache answers it."""
    target = search_target(tenant, query)
    for _ in range(3):
        answer = (
            httpx.get(f"{api.url}{target}", headers=dict(api.headers)).raise_for_status().json()
        )
    if not answer.get("cached") or not answer["items"]:
        raise click.ClickException("the answer to a repeated search is not kept")
    return api.loader.send([http_request(api.url, "GET", target, api.headers)], clients, seconds)


def redis_get(found: Service, size: int, clients: int, seconds: float) -> Answered:
    """GET a value of so many bytes from the service's Valkey, again and again."""
    address = urlsplit(found.given["REDIS_URL"])
    with redis.Redis.from_url(found.given["REDIS_URL"]) as connection:
        connection.set(KEY, b"x" * size, ex=600)
    opening = of_redis("AUTH", unquote(address.password or ""))
    url = f"redis://{address.hostname}:{address.port}"
    loader = Loader(url, found.pids(), opening=opening)
    return loader.send([of_redis("GET", KEY)], clients, seconds)


def of_redis(*words: str) -> bytes:
    """A command as it goes over the wire."""
    given = [word.encode() for word in words]
    return b"*%d\r\n" % len(given) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in given)
