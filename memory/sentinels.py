"""URLs of a Redis that its sentinels know the place of."""

import re
from urllib.parse import parse_qsl, unquote

import msgspec

from memory.errors import SettingsError

SCHEME = "redis+sentinel"
PORT = 26379
LAST_PORT = 65_535
EXPECTED = f"{SCHEME}://:password@host1:26379,host2:26379/0?master_name=mymaster"
OPTIONS = {"master_name", "sentinel_username", "sentinel_password"}
PLACE = re.compile(
    r"((?P<user>[^:@/]*)(:(?P<password>[^@/]*))?@)?(?P<hosts>[^@/]+)(/(?P<database>\d{0,5}))?"
)
HOST = re.compile(r"(\[[0-9a-f:]+\]|[^:\[\]\s]+)(:(\d{1,5}))?", re.IGNORECASE)


class Sentinels(msgspec.Struct, frozen=True):
    """Where the sentinels are, what they call the Redis, and how to log in to both."""

    hosts: tuple[tuple[str, int], ...]
    master_name: str
    database: int
    username: str | None
    password: str | None
    sentinel_username: str | None
    sentinel_password: str | None


def sentinels(url: str, source: str = "MEMORY_REDIS_URL") -> Sentinels | None:
    """The sentinels of `url`, None when it is that of one Redis.

    Raises `SettingsError`, naming `source`, when it is not written as they are.
    """
    scheme, _, rest = url.partition("://")
    if scheme != SCHEME:
        return None
    place, _, query = rest.partition("?")
    found = PLACE.fullmatch(place)
    hosts = [HOST.fullmatch(each) for each in found["hosts"].split(",")] if found else []
    places = [(each[1].strip("[]"), int(each[3] or PORT)) for each in hosts if each]
    good = found and len(places) == len(hosts) and all(port <= LAST_PORT for _, port in places)
    options = dict(parse_qsl(query))
    if not found or not good or not options.get("master_name"):
        raise SettingsError(f"{source}: expected {EXPECTED}")
    if unknown := sorted(options.keys() - OPTIONS):
        raise SettingsError(f"{source}: {SCHEME}:// has no option {unknown[0]!r}")
    return Sentinels(
        hosts=tuple(places),
        master_name=options["master_name"],
        database=int(found["database"] or 0),
        username=unquote(found["user"] or "") or None,
        password=unquote(found["password"] or "") or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
    )
