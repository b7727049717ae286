"""What tests of exports have in common."""

import pytest


@pytest.fixture(autouse=True)
def searches_are_no_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search is counted as a use of what it finds a moment later, which would be a difference."""
    monkeypatch.setattr("api.uses.INTERVAL_SECONDS", 600.0)
