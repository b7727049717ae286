"""The settings of every process: `MEMORY_*` variables and a `.env` file, read once and frozen."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import platformdirs
from msgspec import Meta

from memory import urls
from memory.addresses import check_networks
from memory.errors import SettingsError
from memory.given import FILE, gather, with_secrets, wrong_field
from memory.lexical.languages import Language
from memory.limits import read_limits
from memory.queues import served_queues
from memory.rerank.protocol import RerankerName
from memory.values import (
    Days,
    MessageLimit,
    Port,
    Positive,
    Roles,
    Seconds,
    Share,
    Tenants,
    Weight,
    WholeDays,
    split_list,
)

PREFIX = "MEMORY_"
# Named by a standard, not by us.
STANDARD = frozenset({"otel_exporter_otlp_endpoint"})
SECRETS = frozenset(
    {
        "api_keys",
        "database_url",
        "database_replica_urls",
        "gemini_api_key",
        "openai_api_key",
        "redis_url",
        "broker_url",
        "cache_url",
        "flower_auth",
        "otel_exporter_otlp_endpoint",
    }
)
# An empty value of these means "off"; of all others, "not set".
EMPTY_IS_A_VALUE = frozenset({"global_rate_limit", "tenant_rate_limit", "auth_failure_limit"})
LIMITS = (
    "global_rate_limit",
    "tenant_rate_limit",
    "tenant_message_limit",
    "key_rate_limit",
    "auth_failure_limit",
)

IMPORTANCE_WEIGHTS = tuple(f"importance_w_{part}" for part in ("role", "content", "recency", "use"))

Provider = Literal["onnx", "sentence_transformer", "google_gemini", "openai", "mock"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Field `x` is read from `variable(x)`; `docs/settings.md` says what each one does."""

    environment: str = "development"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    metrics_enabled: bool = True
    metrics_public: bool = True
    metrics_tenants: bool = False
    metrics_host: str = "127.0.0.1"
    worker_metrics_port: Port = 9101
    beat_metrics_port: Port = 9102
    otel_exporter_otlp_endpoint: str = ""
    data_dir: str = ""

    database_url: str = ""
    database_replica_urls: str = ""
    replica_max_lag_seconds: Annotated[float, Meta(ge=1, le=3600)] = 2.0
    database_pool_size: Positive = 20
    database_max_overflow: Annotated[int, Meta(ge=0)] = 10
    sql_echo: bool = False
    redis_url: str = ""
    broker_url: str = ""

    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_keep_alive_seconds: Seconds = 5.0
    api_drain_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    api_stop_seconds: Seconds = 30.0
    api_keys: str = ""
    allowed_origins: str = ""
    request_max_bytes: Positive = 1_048_576
    batch_max_bytes: Positive = 16 * 1_048_576
    import_max_bytes: Positive = 1_073_741_824
    content_max_chars: Positive = 100_000
    request_timeout_seconds: Seconds = 30.0
    request_max_in_flight: Positive = 512
    trusted_proxies: str = ""
    global_rate_limit: str = "200/minute"
    tenant_rate_limit: str = "120/minute"
    tenant_message_limit: str = ""
    key_rate_limit: str = ""
    auth_failure_limit: str = "20/5 minutes"

    async_embeddings: bool = True
    embedding_provider: Provider = "onnx"
    embedding_model_name: str = ""
    embedding_dimensions: Annotated[int, Meta(ge=1, le=4000)] | None = None
    embedding_max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    embedding_lease_seconds: Seconds = 60.0
    gemini_api_key: str = ""
    gemini_base_url: str = ""
    openai_api_key: str = ""
    openai_base_url: str = ""
    openai_api_version: str = ""

    language: Language = "english"
    w_relevance: Weight = 0.93
    w_importance: Weight = 0.05
    w_recency: Weight = 0.02
    half_life_days: Days = 30.0
    reranker: RerankerName = "none"
    reranker_model_name: str = ""
    cache_url: str = ""

    sweep_interval_seconds: Seconds = 15.0
    worker_concurrency: Positive = 1
    worker_queues: str = "embeddings,maintenance"
    worker_stop_seconds: Seconds = 25.0
    flower_host: str = "127.0.0.1"
    flower_port: Port = 5555
    flower_auth: str = ""

    importance_w_role: Weight = 0.2
    importance_w_content: Weight = 0.4
    importance_w_recency: Weight = 0.25
    importance_w_use: Weight = 0.15
    importance_half_life_days: Days = 30.0
    rescore_interval_seconds: Positive = 3_600

    retention_max_age_days: WholeDays = 30
    retention_importance_threshold: Share = 0.35
    retention_delete_after_days: WholeDays = 90
    retention_max_messages: MessageLimit | None = None
    retention_exempt_roles: Roles = ""
    retention_age_from: Literal["ingested", "created"] = "ingested"
    retention_legal_hold: bool = False
    retention_schedule_seconds: Positive = 86_400
    retention_tenants: Tenants = "*"
    archive_dir: str = ""
    backup_dir: str = ""
    backup_schedule_seconds: Positive = 86_400
    backup_keep: Positive = 7
    backup_verify: bool = True

    health_embed_check_enabled: bool = False
    readiness_embed_timeout_seconds: Seconds = 3.0
    require_redis_in_production: bool = False

    @property
    def data_folder(self) -> Path:
        """Where the embedded servers keep their data: `data_dir`, or the user's data folder."""
        return Path(self.data_dir or platformdirs.user_data_dir("ai-memory-layer")).expanduser()

    @property
    def operator_keys(self) -> frozenset[str]:
        """The keys of `api_keys`, which may use every tenant."""
        return frozenset(split_list(self.api_keys))


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return field.upper() if field in STANDARD else PREFIX + field.upper()


def file_variable(field: str) -> str:
    """The environment variable that names a file with the value of a field of `SECRETS`."""
    return variable(field) + FILE


def load_settings(
    environ: Mapping[str, str] | None = None, dotenv_file: Path | None = None
) -> Settings:
    """Settings from `environ` (default: the process's) over `dotenv_file` (default: `./.env`).

    Raises `SettingsError`, naming the variable, when a value is not what the setting takes.
    """
    given = _given(os.environ if environ is None else environ, dotenv_file or Path(".env"))
    given = with_secrets(given, _secrets())
    known = {variable(field): field for field in Settings.__struct_fields__}
    values = {known[name]: value for name, value in given.items() if name in known}
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        field, takes = wrong_field(error, Settings)
        shown = "(secret)" if field in SECRETS else repr(values.get(field, ""))
        raise SettingsError(f"{variable(field)}={shown}: {takes}") from None
    _check(settings)
    return msgspec.structs.replace(
        settings,
        database_url=settings.database_url and urls.postgres_url(settings.database_url),
        database_replica_urls=urls.postgres_urls(settings.database_replica_urls),
        redis_url=settings.redis_url and urls.redis_url(settings.redis_url),
        broker_url=settings.broker_url and urls.broker_url(settings.broker_url),
        cache_url=settings.cache_url and urls.redis_url(settings.cache_url, variable("cache_url")),
    )


def unknown_settings(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """`MEMORY_*` names that no setting has, each with the nearest known name or None."""
    given = _given(os.environ if environ is None else environ, Path(".env"))
    known = [variable(field) for field in Settings.__struct_fields__]
    known += [file_variable(field) for field in SECRETS]
    unknown = sorted(given.keys() - known)
    return {name: next(iter(difflib.get_close_matches(name, known, n=1)), None) for name in unknown}


def _given(environ: Mapping[str, str], dotenv_file: Path) -> dict[str, str]:
    standard = {name for field in STANDARD for name in (variable(field), file_variable(field))}
    merged = gather(environ, dotenv_file, PREFIX, standard, _secrets())
    off = {variable(field) for field in EMPTY_IS_A_VALUE}
    return {name: value for name, value in merged.items() if value or name in off}


def _secrets() -> list[str]:
    return sorted(variable(field) for field in SECRETS)


def _check(settings: Settings) -> None:
    if settings.w_relevance + settings.w_importance + settings.w_recency == 0:
        raise SettingsError("MEMORY_W_RELEVANCE=0: the other weights are 0 too")
    if all(getattr(settings, name) == 0 for name in IMPORTANCE_WEIGHTS):
        raise SettingsError("MEMORY_IMPORTANCE_W_ROLE=0: its other weights are 0 too")
    served_queues(settings.worker_queues, variable("worker_queues"))
    for name in LIMITS:
        read_limits(getattr(settings, name), variable(name))
    check_networks(settings.trusted_proxies, variable("trusted_proxies"))
    urls.check_origins(settings.allowed_origins, variable("allowed_origins"))
    collector = variable("otel_exporter_otlp_endpoint")
    urls.check_collector(settings.otel_exporter_otlp_endpoint, collector)
    if not settings.api_keys.isascii():
        raise SettingsError(f"{variable('api_keys')}=(secret): expected ASCII, for a header's sake")
    user, _, password = settings.flower_auth.partition(":")
    if settings.flower_auth and not (user and password and settings.flower_auth.isascii()):
        raise SettingsError(f"{variable('flower_auth')}=(secret): expected user:password, in ASCII")
