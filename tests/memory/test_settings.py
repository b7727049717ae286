"""Settings: defaults, where they are read from, and what a wrong one says."""

from pathlib import Path

import pytest

from memory.errors import SettingsError
from memory.settings import (
    IMPORTANCE_WEIGHTS,
    SECRETS,
    Settings,
    load_settings,
    split_list,
    unknown_settings,
    variable,
)

DOCUMENTED = {
    "retention_max_age_days": 30,
    "retention_importance_threshold": 0.35,
    "retention_tenants": "*",
    "global_rate_limit": "200/minute",
    "tenant_rate_limit": "120/minute",
    "request_max_bytes": 1_048_576,
    "batch_max_bytes": 16 * 1_048_576,
    "request_timeout_seconds": 30.0,
    "database_pool_size": 20,
    "readiness_embed_timeout_seconds": 3.0,
    "content_max_chars": 100_000,
    "async_embeddings": True,
    "embedding_provider": "onnx",
    "embedding_dimensions": None,
    "api_host": "127.0.0.1",
    "api_port": 8000,
    "flower_port": 5555,
}


@pytest.mark.parametrize("field", DOCUMENTED)
def test_documented_default(field: str) -> None:
    assert getattr(load_settings({}), field) == DOCUMENTED[field]


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    Path(".env").write_text("MEMORY_API_PORT=1\nMEMORY_API_HOST=0.0.0.0\n")
    settings = load_settings({"MEMORY_API_PORT": "2"})
    assert (settings.api_port, settings.api_host) == (2, "0.0.0.0")


def test_a_file_of_another_name(tmp_path: Path) -> None:
    file = tmp_path / "other.env"
    file.write_text('export MEMORY_ENVIRONMENT="production"  # a comment\nPATH=/nowhere\n')
    assert load_settings({}, file).environment == "production"


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_ENVIRONMENT", "staging")
    assert load_settings().environment == "staging"


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("async_embeddings", "false", False),
        ("async_embeddings", "True", True),
        ("async_embeddings", "0", False),
        ("api_port", " 8001 ", 8001),
        ("request_timeout_seconds", "5", 5.0),
        ("embedding_dimensions", "256", 256),
        ("embedding_provider", "mock", "mock"),
    ],
)
def test_values_are_read_as_what_they_are(field: str, value: str, read: object) -> None:
    found = getattr(load_settings({variable(field): value}), field)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("field", "value", "takes"),
    [
        ("api_port", "70000", "65535"),
        ("api_port", "http", "int"),
        ("database_pool_size", "0", ">= 1"),
        ("request_timeout_seconds", "nan", "float"),
        ("request_timeout_seconds", "0", "> 0"),
        ("retention_importance_threshold", "1.5", "<= 1"),
        ("async_embeddings", "perhaps", "bool"),
        ("embedding_provider", "word2vec", "onnx, sentence_transformer, google_gemini"),
        ("log_level", "LOUD", "DEBUG, INFO, WARNING, ERROR"),
        ("worker_queues", "embeddings,maintenence", "embeddings or maintenance, or both"),
        ("worker_queues", ",", "embeddings or maintenance, or both"),
        ("global_rate_limit", "200", "200/minute"),
        ("tenant_rate_limit", "0/minute", "empty is no limit"),
        ("tenant_message_limit", "10000/dya", "200/minute"),
        ("key_rate_limit", "5/minute;", "200/minute"),
        ("auth_failure_limit", "20/50 years", "ten years"),
        ("trusted_proxies", "10.0.0.1/8", "10.0.0.0/8"),
    ],
)
def test_a_wrong_value_names_its_variable_and_what_it_takes(
    field: str, value: str, takes: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({variable(field): value})
    assert variable(field) in str(raised.value)
    assert value in str(raised.value)
    assert takes in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_operator_key_that_no_header_carries() -> None:
    assert load_settings({"MEMORY_API_KEYS": "a, b"}).operator_keys == {"a", "b"}
    with pytest.raises(SettingsError, match=r"^MEMORY_API_KEYS=\(secret\): ") as raised:
        load_settings({"MEMORY_API_KEYS": "hunter2, schlüssel"})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("wrong", ["hunter2", ":hunter2", "hunter2:", "me:hünter2"])
def test_flower_takes_a_user_and_a_password_and_shows_neither(wrong: str) -> None:
    assert load_settings({"MEMORY_FLOWER_AUTH": "me:hunter2"}).flower_auth == "me:hunter2"
    with pytest.raises(SettingsError, match=r"MEMORY_FLOWER_AUTH=.*user:password") as raised:
        load_settings({"MEMORY_FLOWER_AUTH": wrong})
    assert "nter2" not in str(raised.value)


def test_importance_needs_a_weight() -> None:
    zeros = {variable(name): "0" for name in IMPORTANCE_WEIGHTS}
    for name in IMPORTANCE_WEIGHTS:
        load_settings(zeros | {variable(name): "0.1"})
    with pytest.raises(SettingsError, match="MEMORY_IMPORTANCE_W_ROLE"):
        load_settings(zeros)


@pytest.mark.parametrize("field", ["database_url", "redis_url"])
def test_a_wrong_url_is_named_and_not_shown(field: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({variable(field): "host/hunter2"})
    assert variable(field) in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_the_collector_has_the_name_that_a_standard_gives_it(tmp_path: Path) -> None:
    url = "https://me:secret@collector.example:4318/here"
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_exporter_otlp_endpoint"):
        given = load_settings({name: url}).otel_exporter_otlp_endpoint
        assert given == (url if name.isupper() else "")
    (tmp_path / "env").write_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={url}\n")
    assert load_settings({}, tmp_path / "env").otel_exporter_otlp_endpoint == url
    assert load_settings({"OTEL_SERVICE_NAME": "x"}) == Settings()
    assert load_settings({"MEMORY_OTEL_EXPORTER_OTLP_ENDPOINT": url}) == Settings()
    assert unknown_settings({"MEMORY_OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_X": "1"}) == {
        "MEMORY_OTEL_EXPORTER_OTLP_ENDPOINT": "OTEL_EXPORTER_OTLP_ENDPOINT"
    }


@pytest.mark.parametrize(
    "wrong",
    [
        "hunter2:4318",
        "grpc://hunter2:4317",
        "http://",
        "http://:4318",
        "http://hunter2:port",
        "http://h:4318?hunter2",
        "http://hunter2 :4318",
        "true",
    ],
)
def test_a_collector_that_is_none_ends_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: .*:4318") as raised:
        load_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": wrong})
    assert "hunter2" not in str(raised.value)


def test_all_that_is_secret_counts_as_secret() -> None:
    suspicious = {
        field
        for field in Settings.__struct_fields__
        if field.endswith(("_key", "_keys", "_auth", "_password", "_token", "database_url"))
    }
    assert suspicious <= SECRETS


def test_an_unknown_name_comes_with_the_nearest_known_one() -> None:
    given = {"MEMORY_API_PROT": "1", "MEMORY_XYZZY": "1", "MEMORY_API_PORT": "1", "OTHER": "1"}
    assert unknown_settings(given) == {"MEMORY_API_PROT": "MEMORY_API_PORT", "MEMORY_XYZZY": None}
    load_settings({"MEMORY_API_PROT": "1"})


def test_an_empty_value_is_not_set() -> None:
    empty = {variable(field): "" for field in Settings.__struct_fields__}
    settings = load_settings(empty)
    assert settings.api_port == 8000
    assert settings.embedding_dimensions is None
    assert settings.retention_tenants == "*"


def test_an_empty_rate_limit_is_off() -> None:
    off = ("global_rate_limit", "tenant_rate_limit", "auth_failure_limit")
    settings = load_settings(dict(zip(map(variable, off), ("", " ", ""), strict=True)))
    assert [getattr(settings, name) for name in off] == ["", "", ""]


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().api_port = 1  # type: ignore[misc]


def test_a_database_url_is_made_ours() -> None:
    settings = load_settings({"MEMORY_DATABASE_URL": "postgresql+asyncpg://u:p@h/db?ssl=true"})
    assert settings.database_url == "postgresql://u:p@h/db?sslmode=require"


def test_lists_drop_blanks() -> None:
    assert split_list(" a, ,b,") == ["a", "b"]
    assert Settings(api_keys=",one,, two ").operator_keys == {"one", "two"}
    assert not Settings().operator_keys


def test_replicas_are_databases_too() -> None:
    urls = "postgresql+asyncpg://a/db?ssl=require,postgres://b/db"
    settings = load_settings({"MEMORY_DATABASE_REPLICA_URLS": urls})
    assert split_list(settings.database_replica_urls) == [
        "postgresql://a/db?sslmode=require",
        "postgresql://b/db",
    ]
    with pytest.raises(SettingsError, match="MEMORY_DATABASE_REPLICA_URLS, entry 2: ") as raised:
        load_settings({"MEMORY_DATABASE_REPLICA_URLS": f"{urls.split(',')[0]},u:hidden@b/db"})
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("seconds", ["0", "0.9", "3601", "nan", "soon"])
def test_a_lag_has_its_bounds(seconds: str) -> None:
    with pytest.raises(SettingsError, match="MEMORY_REPLICA_MAX_LAG_SECONDS"):
        load_settings({"MEMORY_REPLICA_MAX_LAG_SECONDS": seconds})
