"""How Celery is set up for its broker: a pure function from the broker's URL."""

import ssl
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import amqp
from celery import Celery
from kombu import Exchange, Queue
from kombu.utils.url import parse_url

from memory.errors import SettingsError
from memory.queues import QUEUES
from memory.sentinels import Sentinels, sentinels
from memory.urls import is_amqp
from tasks.redis_clients import login, login_of_sentinels

VISIBILITY_SECONDS = 120
SOCKET_SECONDS = 5
# What an API waits for an answer: three times at most with a RabbitMQ that is silent, for it tries
# a broken connection and two new ones.
PUBLISHER_SECONDS = 1.5
HEARTBEAT_SECONDS = 10
# How often a part looks whether a heartbeat is missing, in parts of its interval.
HEARTBEAT_CHECKS = 2
# Redis's clients find out by themselves that a connection was closed meanwhile; one to RabbitMQ is
# found to be so when it is used, and the task goes by the next.
ONCE = {"retry": False}
TWICE = {
    "retry": True,
    "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
}


def broker_configuration(url: str) -> dict[str, Any]:
    """Celery's settings of the broker at `url`, which a `broker_url` has checked."""
    of_transport = amqp_configuration(url) if is_amqp(url) else redis_configuration(url)
    return {
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": SOCKET_SECONDS,
        **of_transport,
    }


def redis_configuration(url: str) -> dict[str, Any]:
    """Celery's settings of a Redis."""
    found = sentinels(url)
    return {
        "broker_url": sentinel_urls(found) if found else url,
        # Celery reads it in the URL, Flower does not.
        "broker_use_ssl": redis_tls(url),
        "broker_transport_options": {
            # A killed worker's tasks come back after this long, found within the interval.
            "visibility_timeout": VISIBILITY_SECONDS,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 25,
            **(by_sentinels(found) if found else {}),
        },
    }


def sentinel_urls(found: Sentinels) -> str:
    """The sentinels as kombu has them: it takes the login of the Redis from each."""
    user, password = quote(found.username or "", safe=""), quote(found.password or "", safe="")
    let_in = f"{user}:{password}@" if user or password else ""
    places = [(f"[{host}]" if ":" in host else host, port) for host, port in found.hosts]
    return ";".join(f"sentinel://{let_in}{host}:{port}/{found.database}" for host, port in places)


def by_sentinels(found: Sentinels) -> dict[str, Any]:
    """What else kombu is told of them."""
    return {"master_name": found.master_name, "sentinel_kwargs": login_of_sentinels(found)}


def schedule_configuration(url: str) -> dict[str, Any]:
    """RedBeat's settings of the Redis at `url`."""
    found = sentinels(url)
    known = (
        {
            **login(found),
            "sentinels": found.hosts,
            "service_name": found.master_name,
            "sentinel_kwargs": login_of_sentinels(found),
        }
        if found
        else {}
    )
    return {
        # With sentinels it looks at the scheme alone.
        "redbeat_redis_url": "redis-sentinel://" if found else url,
        # Or RedBeat takes what is the broker's.
        "redbeat_redis_use_ssl": redis_tls(url),
        "redbeat_redis_options": {
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            **known,
        },
    }


def amqp_configuration(url: str) -> dict[str, Any]:
    """Celery's settings of a RabbitMQ."""
    return {
        "broker_url": url.partition("?")[0],
        "broker_use_ssl": amqp_tls(url),
        # A worker whose RabbitMQ is silent connects anew after two of them.
        "broker_heartbeat": HEARTBEAT_SECONDS,
        "broker_heartbeat_checkrate": HEARTBEAT_CHECKS,
        "broker_transport_options": {
            # Or what is written to a RabbitMQ that stops at that moment counts as sent.
            "confirm_publish": True,
            # Of each read and write: the answer to a task that was sent, say.
            "read_timeout": SOCKET_SECONDS,
            "write_timeout": SOCKET_SECONDS,
        },
    }


def redis_tls(url: str) -> Any:
    """What a client of the Redis at `url` is told of TLS, False for nothing."""
    return url.startswith("rediss://") and parse_url(url).get("ssl", False)


def amqp_tls(url: str) -> Any:
    """What a connection to the RabbitMQ at `url` is told of TLS, False for nothing."""
    parts = urlsplit(url)
    if parts.scheme != "amqps":
        return False
    named: dict[str, Any] = {
        name.removeprefix("ssl_"): value for name, value in parse_qsl(parts.query)
    }
    if named["cert_reqs"] == "none":
        return {**named, "cert_reqs": ssl.CERT_NONE}
    # Said here, for kombu takes 127.0.0.1 for localhost, and the name is checked only when said.
    return {**named, "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": parts.hostname}


def publisher_configuration(url: str) -> dict[str, Any]:
    """Celery's settings of an API, which only sends: it is to know soon that it cannot."""
    found = broker_configuration(url)
    # Or kombu tries a refused connection again for seconds before it says so.
    options = found["broker_transport_options"] | {"max_retries": 0}
    if not is_amqp(url):
        return {"broker_transport_options": options}
    options |= {"read_timeout": PUBLISHER_SECONDS, "write_timeout": PUBLISHER_SECONDS}
    return {
        "broker_connection_timeout": PUBLISHER_SECONDS,
        "broker_transport_options": options,
    }


def queues(url: str) -> list[Queue]:
    """The queues in the broker at `url`."""
    # Whatever a RabbitMQ takes for its usual kind. What is in one is a hint to work: a queue that
    # is kept on several machines would be slower and save nothing, for the rows are kept.
    arguments = {"queue_arguments": {"x-queue-type": "classic"}} if is_amqp(url) else {}
    return [Queue(name, Exchange(name), routing_key=name, **arguments) for name in QUEUES]


def check_entry(app: Celery) -> None:
    """Raise `SettingsError` when a RabbitMQ does not let this service in.

    Celery would end with a traceback, or try without a pause. One that is away may come back.
    """
    if not is_amqp(app.conf.broker_url):
        return
    try:
        with app.connection_for_read() as connection:
            connection.connect()
    except (amqp.AccessRefused, amqp.NotAllowed) as error:
        raise SettingsError(f"MEMORY_BROKER_URL: RabbitMQ answers {error.reply_text}") from None
    except (amqp.AMQPError, OSError):
        return


def tries(url: str) -> dict[str, Any]:
    """How often a task is sent to the broker at `url` before it is given up."""
    return TWICE if is_amqp(url) else ONCE
