"""Lists of addresses and networks."""

import pytest

from memory.addresses import check_networks
from memory.errors import SettingsError


@pytest.mark.parametrize(
    "right", ["", " * ", "10.0.0.1", "10.0.0.0/8, ::1,", "2001:db8::/32,127.0.0.1", "fe80::1/128"]
)
def test_addresses_and_networks_are_taken(right: str) -> None:
    check_networks(right, "MEMORY_TRUSTED_PROXIES")


@pytest.mark.parametrize(
    "wrong", ["proxy", "10.0.0.1/8", "10.0.0.256", "10.0.0.0/33", "*,10.0.0.1", "10.0.0.1 ::1"]
)
def test_all_else_is_told_with_its_source(wrong: str) -> None:
    with pytest.raises(SettingsError) as raised:
        check_networks(wrong, "MEMORY_TRUSTED_PROXIES")
    assert str(raised.value).startswith(f"MEMORY_TRUSTED_PROXIES={wrong!r}: ")
    assert "10.0.0.0/8" in str(raised.value)
