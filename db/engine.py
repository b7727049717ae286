"""Connections: one login, and a role a process, so that row-level security holds in each."""

import logging
from typing import Any, Literal, TypeVar

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.tracing import trace_statements
from memory.settings import Settings

Role = Literal["memory_api", "memory_worker"]
AnyEngine = TypeVar("AnyEngine", Engine, AsyncEngine)

CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5
SILENT_MS = 15_000
SIDE_CONNECTIONS = 2
# A statement that takes longer is ended by the server; the request has long timed out.
STATEMENT_TIMEOUT_MS = {"memory_api": 30_000, "memory_worker": 60_000}


def api_engine(settings: Settings) -> AsyncEngine:
    """The API's pool, which sees only the tenants that a transaction names."""
    engine = create_async_engine(
        driver_url(settings.database_url),
        **_options(settings, "memory_api", settings.database_pool_size),
    )
    return _traced(engine, settings)


def side_engine(settings: Settings) -> AsyncEngine:
    """A few connections that requests cannot use up, for what must be answered beside them."""
    options = _options(settings, "memory_api", SIDE_CONNECTIONS)
    options |= {"max_overflow": 0}
    return _traced(create_async_engine(driver_url(settings.database_url), **options), settings)


def replica_engines(settings: Settings, url: str) -> tuple[AsyncEngine, AsyncEngine]:
    """For searches on the replica at `url`, and beside them to see how it is."""
    engines = []
    for size, overflow in ((settings.database_pool_size, settings.database_max_overflow), (1, 0)):
        # It may turn out to be no replica, and must not be written to then either.
        options = _options(settings, "memory_api", size, default_transaction_read_only="on")
        options |= {"max_overflow": overflow}
        engines.append(_traced(create_async_engine(driver_url(url), **options), settings))
    return engines[0], engines[1]


def worker_engine(settings: Settings) -> Engine:
    """A worker process's pool; a task uses one connection at a time."""
    engine = create_engine(
        driver_url(settings.database_url), **_options(settings, "memory_worker", 2)
    )
    return _traced(engine, settings)


def driver_url(url: str) -> str:
    """`url` as SQLAlchemy wants it, with psycopg named as the driver."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _traced(engine: AnyEngine, settings: Settings) -> AnyEngine:
    if settings.otel_exporter_otlp_endpoint:
        trace_statements(engine.sync_engine if isinstance(engine, AsyncEngine) else engine)
    return engine


def session_options(role: Role, **more: str) -> str:
    """What a connection of `role` asks for at its start, as libpq's `options` has it."""
    session = {
        "role": role,
        "statement_timeout": STATEMENT_TIMEOUT_MS[role],
        "idle_in_transaction_session_timeout": 60_000,
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.ef_search": 400,
        # To compile a statement takes longer than any of ours.
        "jit": "off",
        "timezone": "UTC",
        **more,
    }
    return " ".join(f"-c {name}={value}" for name, value in session.items())


def _options(settings: Settings, role: Role, size: int, **more: str) -> dict[str, Any]:
    # SQLAlchemy's own switch would print each once more, past the form of our logs.
    level = logging.INFO if settings.sql_echo else logging.WARNING
    logging.getLogger("sqlalchemy.engine").setLevel(level)
    return {
        "pool_size": size,
        "max_overflow": settings.database_max_overflow,
        "pool_timeout": POOL_TIMEOUT_SECONDS,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        # Parameters hold what people said; neither a log nor an error may.
        "hide_parameters": True,
        "connect_args": {
            "application_name": role,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            # A server that is gone without a word is noticed by this, and not after a quarter of an
            # hour, as TCP has it.
            "tcp_user_timeout": SILENT_MS,
            "options": session_options(role, **more),
        },
    }
