"""Importance before any search: the override, or what the role suggests."""

from typing import get_args

import pytest

from memory.importance import ROLE_IMPORTANCE, importance
from memory.messages import Role


def test_every_role_has_one() -> None:
    assert set(ROLE_IMPORTANCE) == set(get_args(Role))
    assert all(0 <= importance(role, None) <= 1 for role in get_args(Role))


def test_what_a_user_says_counts_most() -> None:
    assert importance("user", None) == 0.5
    assert importance("user", None) > importance("assistant", None) > importance("tool", None)


@pytest.mark.parametrize("override", [0.0, 0.123456789012345, 1.0])
def test_an_override_is_exact_zero_included(override: float) -> None:
    assert importance("user", override) == override
