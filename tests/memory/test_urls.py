"""URLs of databases and brokers, as people write them."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from memory.errors import SettingsError
from memory.urls import (
    SCHEMES,
    broker_url,
    check_origins,
    postgres_url,
    postgres_urls,
    redis_url,
)
from tasks.brokers import amqp_configuration


@pytest.mark.parametrize("scheme", [*sorted(SCHEMES), "POSTGRESQL"])
def test_every_way_to_say_postgresql(scheme: str) -> None:
    assert postgres_url(f"{scheme}://u:p@h:5433/db") == "postgresql://u:p@h:5433/db"


@pytest.mark.parametrize(
    ("ssl", "sslmode"),
    [
        ("true", "require"),
        ("True", "require"),
        ("1", "require"),
        ("false", "disable"),
        ("prefer", "prefer"),
        ("verify-full", "verify-full"),
    ],
)
def test_asyncpgs_ssl_is_libpqs_sslmode(ssl: str, sslmode: str) -> None:
    url = postgres_url(f"postgresql+asyncpg://h/db?ssl={ssl}&application_name=x")
    assert url == f"postgresql://h/db?sslmode={sslmode}&application_name=x"


@pytest.mark.parametrize(
    "rest",
    [
        "u:p%40%2F@h/db",
        "u:a:b@h:5432/db",
        "[::1]:5432/db",
        "h/db",
        "u@/db?host=%2Ftmp",
        "/db?host=%2Ftmp",
    ],
)
def test_what_needs_no_change_has_none(rest: str) -> None:
    assert postgres_url(f"postgresql://{rest}") == f"postgresql://{rest}"


def test_a_space_in_an_option_reaches_libpq_as_one() -> None:
    url = postgres_url("postgresql://h/db?options=-c+jit%3Doff")
    assert conninfo_to_dict(url)["options"] == "-c jit=off"
    assert make_url(url).query["options"] == "-c jit=off"


@pytest.mark.parametrize(
    "url", ["sqlite:///memory.db", "sqlite+aiosqlite:///:memory:", "SQLite://"]
)
def test_sqlite_gets_an_answer_that_says_what_to_use(url: str) -> None:
    with pytest.raises(SettingsError, match=r"SQLite.*aiml up.*postgresql://"):
        postgres_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgresql://",
        "mysql://h/db",
        "h/db",
        "postgresql://h:port/db",
        "postgresql://h:65536/db",
        "postgresql://[::1/db",
        "postgresql://a:1,b:2/db",
    ],
)
def test_what_is_no_url_of_a_database(url: str) -> None:
    with pytest.raises(SettingsError, match="MEMORY_DATABASE_URL: expected postgresql://"):
        postgres_url(url)


def test_several_databases() -> None:
    urls = postgres_urls("postgres://u:a%2Cb@h:5433/db , ,postgresql+asyncpg://r/db?ssl=require,")
    assert urls == "postgresql://u:a%2Cb@h:5433/db,postgresql://r/db?sslmode=require"
    assert postgres_urls(urls) == urls
    assert postgres_urls(" ,") == ""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("postgresql://u:secret@h/db,redis://h", 2),
        ("mysql://u:secret@h/db", 1),
        ("postgresql://u:secret,secret@h/db", 1),
        ("postgresql://u:secret@h:1,other:2/db", 2),
        ("sqlite:///secret.db", 1),
        ("postgresql://h/db,postgresql://u:secret@h:port/db", 2),
    ],
)
def test_of_several_the_wrong_one_is_named_and_not_told(text: str, place: int) -> None:
    with pytest.raises(SettingsError, match=f"MEMORY_X, entry {place}: ") as raised:
        postgres_urls(text, "MEMORY_X")
    assert "secret" not in str(raised.value)


@given(st.text(alphabet="abp19:/@[].,?&=%#+ \0é", max_size=30))
def test_a_url_is_refused_or_serves(rest: str) -> None:
    try:
        url = postgres_url(f"postgresql://{rest}")
    except SettingsError:
        return
    assert postgres_url(url) == url
    assert make_url(url).drivername == "postgresql"


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p@h:6379/0",
        "rediss://u:p@h/1?ssl_cert_reqs=none",
        "rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/a/ca.pem",
        "unix:///tmp/r.sock?db=1",
    ],
)
def test_a_url_of_redis(url: str) -> None:
    assert redis_url(url) == url


@pytest.mark.parametrize(
    ("query", "checked"),
    [
        ("", "ssl_cert_reqs=required"),
        ("?ssl_ca_certs=/ca%20s.pem", "ssl_cert_reqs=required&ssl_ca_certs=/ca%20s.pem"),
        ("?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs=none"),
        ("?ssl_cert_reqs=optional", "ssl_cert_reqs=optional"),
    ],
)
def test_redis_over_tls_is_checked_unless_the_url_says_not(query: str, checked: str) -> None:
    url = redis_url(f"rediss://u:p%40@h/1{query}")
    assert url == f"rediss://u:p%40@h/1?{checked}"
    assert redis_url(url) == url


@pytest.mark.parametrize(
    "url", ["h:6379", "http://h", "redis://", "redis://h:port/0", "redis://h:65536/0"]
)
def test_what_is_no_url_of_redis(url: str) -> None:
    with pytest.raises(SettingsError, match="MEMORY_REDIS_URL: expected redis://"):
        redis_url(url)


@pytest.mark.parametrize(
    "origins",
    [
        "",
        "*",
        "https://app.example",
        " http://localhost:3000 , https://app.example:8443,",
        "https://[::1]:3000",
        "chrome-extension://abcdefghij",
    ],
)
def test_origins_as_browsers_write_them(origins: str) -> None:
    check_origins(origins, "MEMORY_ALLOWED_ORIGINS")


@pytest.mark.parametrize(
    "origin",
    [
        "app.example",
        "https://app.example/",
        "https://app.example/page",
        "https://App.example",
        "https://*.example",
        "https://",
        "https://app.example:port",
        "https://user@app.example",
        "null",
        "https://a.example https://b.example",
        "https://app.exämple",
        "https://app.example\r\nx: y",
    ],
)
def test_what_is_no_origin_ends_the_start(origin: str) -> None:
    with pytest.raises(SettingsError, match=r"MEMORY_ALLOWED_ORIGINS: .*https://app\.example"):
        check_origins(f"https://fine.example, {origin}", "MEMORY_ALLOWED_ORIGINS")


@pytest.mark.parametrize(
    "url",
    [
        "amqp://u:p%40@h:5672/vhost",
        "amqp://u:p@h//",
        "amqp://h",
        "redis://:p@h:6379/1",
        "unix:///run/redis.sock",
    ],
)
def test_a_broker_needs_no_change(url: str) -> None:
    assert broker_url(url) == url


def test_the_certificate_of_a_rabbitmq_is_checked_unless_it_says_not() -> None:
    assert broker_url("amqps://h/v") == "amqps://h/v?ssl_cert_reqs=required"
    assert broker_url("amqps://h/v?ssl_cert_reqs=none") == "amqps://h/v?ssl_cert_reqs=none"
    assert amqp_configuration(broker_url("amqps://h/v"))["broker_use_ssl"] == {
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": "h",
    }


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka://h", r"expected amqp://.* or redis://"),
        ("rabbit.example:5672", r"expected amqp://.* or redis://"),
        ("amqp://", r"expected amqp://user:password@host:5672/vhost"),
        ("amqp://u:p@/v", r"expected amqp://user"),
        ("amqp://h:http/v", r"expected amqp://user"),
        ("amqp://h:65536/v", r"expected amqp://user"),
        ("amqps://u:p@s@h/v", r"expected amqps://user"),
        ("amqp://h/v?ssl_ca_certs=/ca.pem", "amqp:// has no option 'ssl_ca_certs'"),
        ("amqps://h/v?heartbeat=1", "amqps:// has no option 'heartbeat'"),
        ("amqps://h/v?ssl_cert_reqs=maybe", "ssl_cert_reqs is required or none"),
        ("redis://h:x", r"expected redis://"),
    ],
)
def test_what_is_no_broker_is_said_to_be_none(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"^MEMORY_BROKER_URL: {said}") as raised:
        broker_url(url)
    assert "u:p" not in str(raised.value)
