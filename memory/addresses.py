"""Addresses and networks as an operator writes them."""

from ipaddress import ip_network

from memory.errors import SettingsError


def check_networks(text: str, source: str) -> None:
    """Raise `SettingsError`, naming `source`, for what is no list of addresses and networks.

    Commas separate them; `*` alone is all of them.
    """
    if text.strip() == "*":
        return
    try:
        for entry in text.split(","):
            if entry.strip():
                ip_network(entry.strip())
    except ValueError as error:
        reason = f"{error}; expected addresses, networks such as 10.0.0.0/8, or * alone"
        raise SettingsError(f"{source}={text!r}: {reason}") from None
