"""A collector, and a service that sends its spans there."""

from collections.abc import Iterator

import httpx
import msgspec
import pytest

from memory.settings import Settings
from tests.conftest import serving
from tests.tracing.collector import Collector, collecting


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are sent soon, not after five seconds."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Where the spans go."""
    with collecting() as running:
        yield running


@pytest.fixture
def settings(settings: Settings, collector: Collector) -> Settings:
    """Settings of a service that is traced. Beat and sweep would only add to what is seen."""
    return msgspec.structs.replace(settings, otel_exporter_otlp_endpoint=collector.url)


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the API, which is traced."""
    with serving(settings) as client:
        yield client
