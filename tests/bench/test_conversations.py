"""Tenants of conversations."""

import re

import pytest

from bench.conversations import Conversation, DatasetError, tenants
from memory.messages import TENANT_PATTERN


def named(*names: str) -> list[Conversation]:
    return [Conversation(name, [], []) for name in names]


def test_a_tenant_is_the_prefix_and_the_name_in_characters_that_are_taken() -> None:
    found = tenants(named("conv-1", "Chat 2 (é).x", "y" * 80), "bench-")
    assert [*found][:2] == ["bench-conv-1", "bench-Chat-2-----x"]
    assert all(re.fullmatch(TENANT_PATTERN, tenant) and len(tenant) <= 64 for tenant in found)
    assert [each.name for each in found.values()] == ["conv-1", "Chat 2 (é).x", "y" * 80]


def test_two_conversations_never_share_a_tenant() -> None:
    with pytest.raises(DatasetError, match=r"'a b' and 'a/b'.*'t-a-b'"):
        tenants(named("a b", "c", "a/b"), "t-")
