"""The service that is measured: its servers, its API with keys and limits, its worker."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import click
import httpx
import msgspec
import psycopg

from bench.serving import Servers, api, part
from bench.serving import servers as empty_servers
from bench.speed.loading import Loader
from memory.settings import Settings

OPERATOR = "an-operators-key-for-the-bench"
# So high that nothing is refused; each request is counted all the same.
LIMITS = dict.fromkeys(("GLOBAL_RATE_LIMIT", "TENANT_RATE_LIMIT"), "1000000000/minute")
WARM_SECONDS = 1.0


class Service(NamedTuple):
    """Servers that run, and the settings of the parts before them, without their prefix."""

    servers: Servers
    given: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """What the parts make of what they are given."""
        given = {name.lower(): value for name, value in self.given.items()}
        return msgspec.convert(given, Settings, strict=False)

    def pids(self, **more: int) -> dict[str, int]:
        """The first process of each server, and of other parts."""
        return {**more, "PostgreSQL": postmaster(self.servers), "Valkey": self.servers.valkey_pid}


class Api(NamedTuple):
    """An API that serves; `headers` have a key of the store that opens the tenants asked for."""

    url: str
    pid: int
    headers: Mapping[str, str]
    loader: Loader


@contextmanager
def service(provider: str = "onnx") -> Iterator[Service]:
    """Empty servers, with everything as it is by default but for the limits' height."""
    with empty_servers() as servers:
        given = {
            **servers.settings,
            "EMBEDDING_PROVIDER": provider,
            "API_KEYS": OPERATOR,
            **LIMITS,
        }
        yield Service(servers, given)


@contextmanager
def serving(
    found: Service, tenants: Sequence[str], warm_seconds: float = WARM_SECONDS
) -> Iterator[Api]:
    """The API, with as many processes as it has by default, and a key for `tenants`."""
    with api(found.servers.folder, found.given) as (url, pid):
        made = httpx.post(
            f"{url}/v1/admin/keys",
            headers={"x-api-key": OPERATOR},
            json={"tenants": list(tenants), "scopes": ["read", "write"]},
        )
        if made.status_code != 201:
            raise click.ClickException(f"no key: {made.status_code} {made.text[:300]}")
        headers = {"x-api-key": made.json()["key"]}
        yield Api(url, pid, headers, Loader(url, found.pids(API=pid), warm_seconds))


@contextmanager
def worker(found: Service) -> Iterator[int]:
    """A worker: its first process."""
    with part(found.servers.folder, ["cli.main", "worker"], found.given) as pid:
        yield pid


def postmaster(servers: Servers) -> int:
    """The first process of PostgreSQL, which has started all others."""
    asked = "select pg_read_file('postmaster.pid', 0, 32)"
    with psycopg.connect(servers.database) as connection:
        row = connection.execute(asked).fetchone()
    return int(str(row[0]).split()[0]) if row else 0


def body(message: Mapping[str, object]) -> bytes:
    """A message as it is posted."""
    return msgspec.json.encode(message)
