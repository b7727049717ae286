"""What a worker process has."""

from collections.abc import Iterator

import pytest

from memory.settings import Settings
from tasks.resources import Resources


@pytest.fixture
def resources(settings: Settings) -> Iterator[Resources]:
    resources = Resources(settings)
    resources.check_model()
    yield resources
    resources.close()
