"""Networks as an operator writes them."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from memory.errors import SettingsError

EVERYWHERE = ("0.0.0.0/0", "::/0")


def read_networks(text: str, source: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks in a comma-separated list of addresses and networks; `*` is all of them.

    Raises `SettingsError`, naming `source`.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    try:
        return tuple(
            ip_network(each)
            for entry in entries
            for each in (EVERYWHERE if entry == "*" else (entry,))
        )
    except ValueError as error:
        reason = f"{error}; expected addresses, networks such as 10.0.0.0/8, or *"
        raise SettingsError(f"{source}={text!r}: {reason}") from None
