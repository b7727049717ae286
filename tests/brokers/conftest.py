"""A RabbitMQ for a file of tests."""

from collections.abc import Iterator

import pytest

from tests.brokers.rabbitmq import RabbitMQ, running


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """The RabbitMQ of a file of tests."""
    with running(tmp_path_factory.mktemp("broker") / "rabbitmq") as server:
        yield server
