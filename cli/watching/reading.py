"""How the service is, in figures: what the page shows, `--json` prints and findings are made of."""

from datetime import datetime

import msgspec

from cli.watching.pages import Part


class Process(msgspec.Struct, frozen=True):
    """A process that is looked at; `why_not` says why it does not answer."""

    part: Part
    url: str
    answers: bool
    why_not: str = ""
    memory_bytes: float | None = None
    cpu_share: float | None = None
    up_seconds: float | None = None
    # In the last 15 minutes, as far as they were looked at.
    restarts: float = 0


class Endpoint(msgspec.Struct, frozen=True):
    """The requests to a route, or to all; times are in seconds, shares from 0 to 1."""

    name: str
    count: float
    per_second: float | None
    error_share: float | None
    p50: float | None
    p95: float | None


class Requests(msgspec.Struct, frozen=True):
    """What the API was asked."""

    all: Endpoint
    # The busiest first.
    endpoints: list[Endpoint]
    in_flight: float | None
    searches_per_second: float | None
    degraded: dict[str, float]
    legs_p95: dict[str, float | None]
    cache_hits: dict[str, float | None]
    refused: dict[str, float]


class Pipeline(msgspec.Struct, frozen=True):
    """The way of messages to their vectors."""

    stored_per_second: float | None
    embedded_per_second: float | None
    lag_p95: float | None
    queues: dict[str, float]
    # By task and outcome.
    tasks: dict[str, dict[str, float]]
    archived: float | None
    deleted: float | None


class Store(msgspec.Struct, frozen=True):
    """What is stored, measured once a minute; None is not known."""

    messages: float | None
    pending: float | None
    oldest_pending_seconds: float | None
    failed: float | None
    archived: float | None
    bytes: float | None
    measured_seconds_ago: float | None
    retention_completed_seconds_ago: float | None
    retention_failed: bool
    backup_seconds_ago: float | None
    backup_failed: bool


class Parts(msgspec.Struct, frozen=True):
    """How what the processes work with is; None is not known."""

    database_up: bool | None
    redis_up: bool | None
    # Of one that is not Redis.
    broker_up: bool | None
    # The API processes that do not reach the database.
    without_database: list[str]
    # Connections that requests use, and how many there may be, by API process.
    pools: dict[str, tuple[float, float]]
    # By provider: 0 closed, 1 trying again, 2 open.
    breakers: dict[str, float]
    # By read replica: 1 while each API process sends it searches, 0 when one does not.
    replicas: dict[str, float]
    # Free shares by folder.
    disks: dict[str, float]
    beat_leaders: float
    beat_ticked_seconds_ago: float | None


class Events(msgspec.Struct, frozen=True):
    """What was counted over the last five minutes, for it may be over in a moment."""

    seconds: float
    # Of applications; failed are those answered with 5xx, and 499, whose callers gave up waiting.
    requests: float
    requests_failed: float
    publish_dropped: float
    given_up: float
    wrong_keys_refused: float


class Figures(msgspec.Struct, frozen=True):
    """A reading. Rates, shares and percentiles are of the last `seconds`."""

    time: datetime
    seconds: float
    processes: list[Process]
    requests: Requests
    pipeline: Pipeline
    store: Store
    parts: Parts
    events: Events
