"""A limiter in a Redis that is one test's own to take away."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from api.limiter import Limiter
from api.metrics import Metrics
from cli.valkey import EmbeddedValkey
from memory.limits import Hit, read_limits
from tests.api.redis_outages import OwnUser

(TWENTY,) = read_limits("20/minute")


@pytest.fixture
def user(valkey: EmbeddedValkey) -> Iterator[OwnUser]:
    with contextlib.closing(OwnUser(valkey.url)) as made:
        yield made


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def limiter(user: OwnUser, metrics: Metrics) -> AsyncIterator[Limiter]:
    limiter = Limiter(user.url, metrics)
    yield limiter
    await limiter.aclose()


@pytest.fixture
def hits() -> list[Hit]:
    """One against a limit of 20 that no other test has."""
    return [Hit(f"tenant:{uuid.uuid4().hex}", TWENTY)]
