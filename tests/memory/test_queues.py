"""Which queues a worker serves."""

import pytest

from memory.errors import SettingsError
from memory.queues import EMBEDDINGS, MAINTENANCE, QUEUES, served_queues


@pytest.mark.parametrize(
    ("named", "served"),
    [
        ("embeddings,maintenance", [EMBEDDINGS, MAINTENANCE]),
        (" maintenance ", [MAINTENANCE]),
        ("embeddings,,embeddings", [EMBEDDINGS]),
    ],
)
def test_they_are_named_in_a_list(named: str, served: list[str]) -> None:
    assert served_queues(named, "--queues") == served


@pytest.mark.parametrize("named", ["", ",", "celery", "embeddings,celery", "Embeddings"])
def test_a_wrong_name_is_told_with_the_right_ones(named: str) -> None:
    with pytest.raises(SettingsError) as raised:
        served_queues(named, "--queues")
    assert str(raised.value).startswith(f"--queues={named!r}: ")
    assert all(queue in str(raised.value) for queue in QUEUES)
