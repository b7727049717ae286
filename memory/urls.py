"""URLs of the servers as people write them, made into the one form that the service uses."""

import re
from urllib.parse import parse_qsl, quote, urlencode

from memory.errors import SettingsError
from memory.sentinels import LAST_PORT, sentinels
from memory.sentinels import SCHEME as SENTINEL_SCHEME

SCHEMES = {"postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"}
REDIS_SCHEMES = {"redis", "rediss", "unix"}
AMQP_SCHEMES = {"amqp", "amqps"}
TLS_OPTIONS = {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile"}
HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>\d{1,5}))?")

ORIGIN = r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:\d{1,5})?"


def postgres_url(url: str, source: str = "MEMORY_DATABASE_URL") -> str:
    """`url` as `postgresql://...` for libpq; asyncpg's `ssl=` becomes `sslmode=`.

    Raises `SettingsError`, naming `source`, when it is not the URL of a PostgreSQL database.
    """
    scheme, _, rest = url.partition("://")
    if scheme.split("+")[0].lower() == "sqlite":
        raise SettingsError(
            f"{source}: SQLite cannot search vectors. Leave MEMORY_DATABASE_URL unset and"
            " `aiml up` runs an embedded PostgreSQL, or give a postgresql:// URL."
        )
    place, _, query = rest.partition("?")
    if scheme.lower() not in SCHEMES or not place or not _has_good_port(place):
        raise SettingsError(f"{source}: expected postgresql://user:password@host:5432/database")
    options = [_sslmode(key, value) for key, value in parse_qsl(query)]
    # libpq takes a plus sign for itself, so that a space must be a percent code.
    return f"postgresql://{place}" + ("?" + urlencode(options, quote_via=quote) if options else "")


def postgres_urls(text: str, source: str = "MEMORY_DATABASE_REPLICA_URLS") -> str:
    """Comma-separated URLs of PostgreSQL databases, each as `postgres_url` has it.

    Raises `SettingsError`, naming `source` and the place of the wrong one, and none of them.
    """
    urls = [entry.strip() for entry in text.split(",") if entry.strip()]
    return ",".join(postgres_url(url, f"{source}, entry {n}") for n, url in enumerate(urls, 1))


def redis_url(url: str, source: str = "MEMORY_REDIS_URL") -> str:
    """`url` for all who use Redis; over TLS the server's certificate is checked unless it says not.

    Raises `SettingsError`, naming `source`, when it is not the URL of a Redis server.
    """
    if sentinels(url, source):
        return url
    scheme, _, rest = url.partition("://")
    if scheme not in REDIS_SCHEMES or not rest or not _has_good_port(rest.partition("?")[0]):
        raise SettingsError(f"{source}: expected redis://:password@host:6379/0")
    if scheme != "rediss":
        return url
    place, _, query = rest.partition("?")
    # Celery checks nothing when it is not told to, and knows other words for it than the rest.
    options = {"ssl_cert_reqs": "required", **dict(parse_qsl(query))}
    options["ssl_cert_reqs"] = options["ssl_cert_reqs"].removeprefix("CERT_").lower()
    return f"{scheme}://{place}?{urlencode(options, quote_via=quote, safe='/')}"


def broker_url(url: str, source: str = "MEMORY_BROKER_URL") -> str:
    """`url` for those who send tasks and work on them: that of a RabbitMQ, or of a Redis.

    Over TLS the certificate is checked unless it says not. Raises `SettingsError`, naming `source`,
    for anything else.
    """
    scheme, _, rest = url.partition("://")
    if not is_amqp(url):
        if scheme not in {*REDIS_SCHEMES, SENTINEL_SCHEME}:
            expected = "amqp://user:password@host:5672/vhost or redis://:password@host:6379/0"
            raise SettingsError(f"{source}: expected {expected}")
        return redis_url(url, source)
    place, _, query = rest.partition("?")
    if not place.partition("/")[0].rpartition("@")[2] or not _has_good_port(place):
        raise SettingsError(f"{source}: expected {scheme}://user:password@host:5672/vhost")
    options = dict(parse_qsl(query))
    known = TLS_OPTIONS if scheme == "amqps" else set()
    if unknown := sorted(options.keys() - known):
        raise SettingsError(f"{source}: {scheme}:// has no option {unknown[0]!r}")
    if options.setdefault("ssl_cert_reqs", "required") not in {"required", "none"}:
        raise SettingsError(f"{source}: ssl_cert_reqs is required or none")
    written = "?" + urlencode(options, quote_via=quote, safe="/") if scheme == "amqps" else ""
    return f"{scheme}://{place}{written}"


def is_amqp(url: str) -> bool:
    """Whether `url` is that of a RabbitMQ, by its scheme."""
    return url.partition("://")[0] in AMQP_SCHEMES


def check_origins(text: str, source: str) -> None:
    """Raise `SettingsError`, naming `source`, when an entry is not what a browser calls an origin.

    A page says where it is from in one way, and what is written otherwise never matches.
    """
    for entry in filter(None, map(str.strip, text.split(","))):
        if entry != "*" and not re.fullmatch(ORIGIN, entry):
            expected = "expected https://app.example, in lower case and without a path, or *"
            raise SettingsError(f"{source}: {entry!r}: {expected}")


def check_collector(url: str, source: str) -> None:
    """Raise `SettingsError`, naming `source`, unless `url` is empty or that of an OTLP collector.

    That is what OpenTelemetry calls the base URL: `/v1/traces` is added to it.
    """
    scheme, _, rest = url.partition("://")
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    named = place.rpartition("@")[2].partition(":")[0]
    plain = not re.search(r"[\s?#]", url) and url.isprintable()
    if url and not (scheme in {"http", "https"} and named and plain and _has_good_port(place)):
        raise SettingsError(f"{source}: expected http://collector.example:4318, for OTLP over HTTP")


def _has_good_port(place: str) -> bool:
    # In a user's name or password an @ is written as %40.
    host = place.partition("/")[0].rpartition("@")[2]
    found = HOST_AND_PORT.fullmatch(host)
    return place.count("@") <= 1 and found is not None and int(found["port"] or 0) <= LAST_PORT


def _sslmode(key: str, value: str) -> tuple[str, str]:
    if key != "ssl":
        return key, value
    return "sslmode", {"true": "require", "1": "require", "false": "disable"}.get(
        value.lower(), value
    )
